"""The simulated placement service: hosts and VMs whose memory moves at a bandwidth, and that fail on demand.

Demo, documents, drills and tests all use it. It refuses what a real placement service would refuse (`estate.py`) and
moves memory as real hypervisors do (`fluid.py`). It has no thread and no chance of its own: everything that happens
follows from its clock and from what it was told, so equal calls give equal results, however often somebody looks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from forewarn.clock import Clock
from forewarn.domain.events import FailureEvent
from forewarn.domain.inventory import Cluster, Component, HostState, Kind, VirtualMachine, VmState
from forewarn.domain.plan import Move, MoveState
from forewarn.domain.situation import Workload
from forewarn.drivers.base import MoveProgress
from forewarn.drivers.cordons import Marks
from forewarn.drivers.estate import Estate
from forewarn.drivers.fluid import CopyEnded, CopySettings, End, Guest, Links
from forewarn.drivers.mishaps import Mishaps
from forewarn.drivers.parts import Parts
from forewarn.errors import DriverUnavailable, MoveRefused


@dataclass(frozen=True, slots=True)
class SimulatedSettings:
    """How the simulated placement service behaves."""

    copy: CopySettings = field(default_factory=CopySettings)
    """How memory is copied, and when a copy is given up."""
    moves_remembered: int = 10_000
    """Number of moves whose end is remembered; older ones are answered like moves that were never heard of."""
    failures_remembered: int = 10_000
    """Number of failures that are remembered, the newest ones."""


@dataclass(slots=True)
class _Job:
    """One move that was started here."""

    move: Move
    end: MoveProgress | None = None
    break_text: str = ""


class SimulatedDriver(Mishaps):
    """Hosts and VMs that live in memory. Whoever plays fate calls the methods below `cancel`.

    >>> from datetime import UTC, datetime
    >>> from forewarn.clock import SimulatedClock
    >>> from forewarn.domain.inventory import Host
    >>> clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
    >>> hosts = tuple(Host(name, cpus=4, memory_bytes=2**33, link_bytes_per_s=1e9) for name in ("a", "b"))
    >>> vm = VirtualMachine("1", "web", "a", vcpus=1, memory_bytes=2**32)
    >>> driver = SimulatedDriver(Cluster(clock.now(), hosts=hosts, vms=(vm,)), (), clock)
    >>> move = Move("m1", "1", "web", vm.criticality, "a", "b", "disk:A", Kind.DISK, 0.2, 0.1, "drill", "a drill")
    >>> driver.start(move)
    >>> clock.sleep(5)
    >>> driver.poll(move).state, driver.inventory().vms[0].host, driver.audit()
    (<MoveState.SUCCEEDED: 'succeeded'>, 'b', ())
    """

    name = "simulated"

    def __init__(
        self,
        cluster: Cluster,
        workloads: Iterable[Workload],
        clock: Clock,
        settings: SimulatedSettings | None = None,
    ) -> None:
        super().__init__()
        marked = (replace(host, driver=self.name, simulated=True) for host in cluster.hosts)
        cluster = replace(cluster, hosts=tuple(marked))
        self._clock = clock
        self._settings = settings or SimulatedSettings()
        self._estate = Estate(cluster)
        self._marks = Marks()
        self._parts = Parts(cluster.components)
        self._cut: dict[str, tuple[str, ...]] = {}  # dead part -> VMs that cannot run without it
        self._workloads = {workload.vm: workload for workload in workloads}
        self._links = Links({host.name: host.link_bytes_per_s for host in cluster.hosts}, self._settings.copy)
        self._jobs: dict[str, _Job] = {}
        self._moving: dict[str, str] = {}  # VM -> id of its running move
        self._failures: list[FailureEvent] = []
        self._picture = cluster

    # --- the driver -------------------------------------------------------------------------------

    def inventory(self) -> Cluster:
        with self._lock:
            self._reach()
            now, generation = self._clock.now(), self._estate.generation
            if self._picture.generation != generation:
                hosts, vms = tuple(self._estate.hosts.values()), tuple(self._estate.vms.values())
                parts = tuple(self._parts.living(self._estate.vms))
                self._picture = Cluster(now, generation, hosts, parts, vms)
            elif self._picture.time != now:
                self._picture = replace(self._picture, time=now)
            return self._picture

    def workloads(self) -> tuple[Workload, ...]:
        with self._lock:
            self._reach()
            return tuple(self._workloads.values())

    def check(self, move: Move) -> None:
        with self._lock:
            self._reach()
            reason = self._estate.why_not(move)
            if reason:
                raise MoveRefused(reason)

    def expect(self, move: Move) -> None:
        """Nothing is measured: what VMs do is known without."""

    def start(self, move: Move) -> None:
        with self._lock:
            self.check(move)
            if move.id in self._jobs:
                raise MoveRefused(f"a move {move.id} was started before")
            if move.vm in self._to_lose:
                self._to_lose.discard(move.vm)
                return
            self._set_out(move)
            if move.vm in self._to_time_out:
                self._to_time_out.discard(move.vm)
                raise DriverUnavailable(f"no answer to the start of the move of {move.vm_name}")

    def cordon(self, host: str, why: str, until: datetime) -> None:  # noqa: ARG002 - nobody reads the cause here
        with self._lock:
            self._reach()
            self._marks.mark(host, until)
            self._show_mark(host)

    def uncordon(self, host: str) -> None:
        with self._lock:
            self._reach()
            if self._uncordon_fails:
                self._uncordon_fails = False
                raise DriverUnavailable(f"no answer to the end of the cordon of {host}")
            self._marks.lift(host)
            self._show_mark(host)

    def poll(self, move: Move) -> MoveProgress:
        with self._lock:
            now_s = self._reach()
            job = self._jobs.get(move.id)
            if job is None:
                return MoveProgress(MoveState.FAILED, text=f"the simulator never heard of move {move.id}")
            if job.end is not None:
                return job.end
            return MoveProgress(MoveState.RUNNING, progress=self._links.progress(move.id, now_s))

    def cancel(self, move: Move) -> None:
        with self._lock:
            now_s = self._reach()
            job = self._jobs.get(move.id)
            if job is not None and job.end is None:
                self._stop(job, now_s, MoveState.CANCELLED, "cancelled; it stays where it was")

    # --- failures on demand -------------------------------------------------------------------------

    def fail_host(self, name: str, component: str = "", text: str = "") -> tuple[str, ...]:
        """Let a host fail: its VMs are interrupted, moves from and to it fail. Returns the interrupted VMs' ids."""
        with self._lock:
            now_s = self._advance()
            host = self._estate.hosts[name]
            if host.state is HostState.DOWN:
                return ()
            self._estate.set_host(replace(host, state=HostState.DOWN))
            for job in self._running():
                if name in (job.move.source, job.move.target):
                    self._stop(job, now_s, MoveState.FAILED, f"{name} failed during the move")
            hit = [vm.id for vm in self._estate.on(name) if vm.state is VmState.RUNNING]
            for vm_id in hit:
                self._estate.set_state(vm_id, VmState.INTERRUPTED)
            self._remember_failure(name, component, text or f"{name} failed")
            return tuple(hit)

    def repair_host(self, name: str) -> None:
        """Bring a host back; the VMs that it interrupted resume there, but for those whose own part is dead."""
        with self._lock:
            self._advance()
            host = self._estate.hosts[name]
            if host.state is not HostState.DOWN:
                return
            self._estate.set_host(replace(host, state=HostState.UP))
            cut = {vm_id for vm_ids in self._cut.values() for vm_id in vm_ids}
            for vm in self._estate.on(name):
                if vm.state is VmState.INTERRUPTED and vm.id not in cut:
                    self._estate.set_state(vm.id, VmState.RUNNING)

    def fail_part(self, component: str) -> tuple[str, ...]:
        """Let a part die while its host lives on; returns the ids of the VMs that this interrupted.

        VMs on the part's path go down if its set had no spare left, until `replace_part`.
        """
        with self._lock:
            self._advance()
            part = self._parts.get(component)
            if part is None:
                raise ValueError(f"there is no part {component}")
            lost = self._parts.die(component)
            on_it = [vm for vm in self._estate.on(part.host) if vm.id in part.vms] if lost else []
            for vm in on_it:
                self._end_move_of(vm.id, f"{component} failed during the move")
            hit = tuple(vm.id for vm in on_it if self._estate.vms[vm.id].state is VmState.RUNNING)
            for vm_id in hit:
                self._estate.set_state(vm_id, VmState.INTERRUPTED)
            self._cut[component] = tuple(vm.id for vm in on_it)
            self._estate.generation += 1
            return hit

    def replace_part(self, component: str, new: Component) -> None:
        """Put `new` in the place of a part, dead or alive; VMs that it interrupted resume if their host is up."""
        with self._lock:
            self._advance()
            self._parts.swap(component, new)
            self._estate.generation += 1
            for vm_id in self._cut.pop(component, ()):
                vm = self._estate.vms.get(vm_id)
                if vm is not None and vm.state is VmState.INTERRUPTED and self._is_up(vm.host):
                    self._estate.set_state(vm_id, VmState.RUNNING)

    def failures(self) -> tuple[FailureEvent, ...]:
        """Every host failure so far, as the placement service tells it."""
        with self._lock:
            return tuple(self._failures)

    def stall_move(self, vm: str, stalled: bool = True) -> None:
        """Let the running move of a VM stand still, or go on."""
        with self._lock:
            now_s = self._advance()
            if vm not in self._moving:
                raise ValueError(f"VM {vm} is not moving")
            self._links.stall(self._moving[vm], stalled, now_s)

    # --- what other people and tools do ---------------------------------------------------------------

    def cordon_by_hand(self, name: str, cordoned: bool = True) -> None:
        """Let a host take no more VMs, or take them again; moves that run go on."""
        with self._lock:
            self._advance()
            (self._marks.others.add if cordoned else self._marks.others.discard)(name)
            self._show_mark(name)

    def maintain(self, name: str, maintained: bool = True) -> None:
        """Put a host that is up into maintenance, or bring it back; its VMs go on."""
        with self._lock:
            self._advance()
            host = self._estate.hosts[name]
            if host.state is HostState.DOWN:
                raise ValueError(f"{name} is down: repair it first")
            state = HostState.MAINTENANCE if maintained else HostState.UP
            self._estate.set_host(replace(host, state=state))

    def move_elsewhere(self, vm: str, target: str) -> None:
        """Put a VM on another host at once, past every check, as another tool or person may; its own move fails."""
        with self._lock:
            if not self._is_up(target):
                raise ValueError(f"{target} is down: nothing runs there")
            self._end_move_of(vm, "somebody else moved the VM")
            self._estate.transfer(vm, target)

    def stop_vm(self, vm: str) -> None:
        """Shut a VM down; its move fails."""
        with self._lock:
            self._end_move_of(vm, "somebody stopped the VM")
            self._estate.set_state(vm, VmState.STOPPED)

    def remove_vm(self, vm: str) -> None:
        """Delete a VM; its move fails."""
        with self._lock:
            self._end_move_of(vm, "somebody deleted the VM")
            self._estate.remove(vm)
            self._workloads.pop(vm, None)

    def add_vm(self, vm: VirtualMachine, workload: Workload | None = None) -> None:
        """Create a VM on its host."""
        with self._lock:
            self._advance()
            if vm.host in self._estate.hosts and not self._is_up(vm.host):
                raise ValueError(f"{vm.host} is down: nothing runs there")
            self._estate.place(vm)
            if workload is not None:
                self._workloads[vm.id] = workload

    def set_workload(self, workload: Workload) -> None:
        """Let a VM do something else from now on; a move that runs was measured before."""
        with self._lock:
            self._workloads[workload.vm] = workload

    def audit(self) -> tuple[str, ...]:
        """A sentence for each VM that is on no host or on two. Empty is what Forewarn promises."""
        with self._lock:
            self._advance()
            return self._estate.audit()

    # --- inside ---------------------------------------------------------------------------------------

    def _reach(self) -> float:
        """Bring the world to the clock's time, if the service answers at all."""
        now_s = self._advance()
        if self._unreachable:
            raise DriverUnavailable(self._unreachable)
        return now_s

    def _advance(self) -> float:
        now_s = self._clock.monotonic()
        while ended := self._links.next_end(now_s):
            self._settle(self._jobs[ended.id], ended)
        for host in self._marks.ended(self._clock.now()):
            self._show_mark(host)
        return now_s

    def _show_mark(self, host: str) -> None:
        known, marked = self._estate.hosts[host], self._marks.marked(host)
        if known.cordoned != marked:
            self._estate.set_host(replace(known, cordoned=marked))

    def _set_out(self, move: Move) -> None:
        vm, load = self._estate.vms[move.vm], self._workloads.get(move.vm)
        text, at = self._to_break.pop(move.vm, ("", None))
        guest = Guest(vm.memory_bytes)
        if load is not None:
            guest = Guest(vm.memory_bytes, load.dirty_bytes_per_s or 0.0, load.working_set_bytes or 0)
        self._estate.reserve(move.vm, move.target)
        self._links.add(move.id, guest, move.source, move.target, self._clock.monotonic(), at)
        self._jobs[move.id] = _Job(move, break_text=text)
        self._moving[move.vm] = move.id
        self._forget_old_jobs()

    def _forget_old_jobs(self) -> None:
        surplus = max(0, len(self._jobs) - self._settings.moves_remembered)
        ended = (move_id for move_id, job in self._jobs.items() if job.end is not None)
        for move_id in list(islice(ended, surplus)):
            del self._jobs[move_id]

    def _running(self) -> list[_Job]:
        return [self._jobs[move_id] for move_id in self._moving.values()]

    def _end_move_of(self, vm: str, text: str) -> None:
        """Let the move of a VM fail, if one runs."""
        now_s = self._advance()
        if vm in self._moving:
            self._stop(self._jobs[self._moving[vm]], now_s, MoveState.FAILED, text)

    def _stop(self, job: _Job, now_s: float, state: MoveState, text: str) -> None:
        """End a running move before it arrived."""
        progress = self._links.progress(job.move.id, now_s)
        duration_s = now_s - self._links.started_s(job.move.id)
        self._links.drop(job.move.id, now_s)
        self._stay(job, MoveProgress(state, progress, 0.0, text, duration_s))

    def _settle(self, job: _Job, ended: CopyEnded) -> None:
        """Book a copy that came to its own end."""
        if ended.end is End.ARRIVED:
            text = f"{job.move.vm_name} runs on {job.move.target}"
            del self._moving[job.move.vm]
            self._estate.arrive(job.move.vm, job.move.target)
            job.end = MoveProgress(MoveState.SUCCEEDED, 1.0, ended.downtime_ms, text, ended.duration_s)
            return
        texts = {
            End.DIVERGED: "the copy does not converge: the VM dirties its memory faster than the link takes it",
            End.TOO_LONG: "the copy was given up after its time limit",
            End.BROKEN: job.break_text,
        }
        self._stay(
            job,
            MoveProgress(MoveState.FAILED, ended.progress, 0.0, texts[ended.end], ended.duration_s),
        )

    def _stay(self, job: _Job, end: MoveProgress) -> None:
        job.end = end
        del self._moving[job.move.vm]
        self._estate.release(job.move.vm, job.move.target, VmState.RUNNING)

    def _is_up(self, host: str) -> bool:
        return self._estate.hosts[host].state is not HostState.DOWN

    def _remember_failure(self, host: str, component: str, text: str) -> None:
        part = self._parts.get(component)
        kind = Kind.HOST if part is None else part.kind
        self._failures.append(FailureEvent(self._clock.now(), host, kind, component, "driver", text))
        del self._failures[: -self._settings.failures_remembered]
