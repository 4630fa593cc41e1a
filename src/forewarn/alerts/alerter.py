"""Tells each cycle's alerts: computed and remembered by the loop, sent by a thread that the loop never waits for.

At most one job waits for that thread: a newer one takes its place, and takes over what it would have ended. Alerts are
sent again with the cycles; if no cycle comes, nothing renews them, and Alertmanager lets them end by itself.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forewarn.alerts import hold, rules, seen
from forewarn.alerts.alertmanager import Alertmanager, Wording
from forewarn.alerts.hold import Held
from forewarn.alerts.memory import AlertMemory
from forewarn.alerts.notify import Notifier
from forewarn.alerts.seen import Part, Place
from forewarn.alerts.settings import AlertSettings
from forewarn.alerts.tally import Tally
from forewarn.clock import Clock
from forewarn.domain.situation import Snapshot
from forewarn.errors import ForewarnError, ReceiverUnavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What there is to send after a cycle."""

    on: tuple[Held, ...]
    ended: tuple[Held, ...]
    raised: tuple[Held, ...]

    def after(self, waiting: "Job | None") -> "Job":
        """This job, with what a waiting one that was never done would have ended."""
        if waiting is None:
            return self
        return Job(self.on, (*waiting.ended, *self.ended), (*waiting.raised, *self.raised))


@dataclass(frozen=True)
class Receivers:
    """Whom to send to."""

    alertmanagers: tuple[tuple[str, Alertmanager], ...]  # each with its name, which holds no secret
    wording: Wording
    notifier: Notifier | None = None


class Alerter:
    """One site's alerts. `tell` belongs to the control loop; `close` ends the thread."""

    def __init__(
        self, memory: AlertMemory, receivers: Receivers, settings: AlertSettings, clock: Clock, tally: Tally
    ) -> None:
        self._memory, self._receivers, self._settings = memory, receivers, settings
        self._clock, self._tally = clock, tally
        self._seen: dict[Place, Part] | None = None
        self._active: Counter[str] = Counter()
        self._sent_at: dict[str, float] = {}  # when each Alertmanager last took everything
        self._last: dict[str, frozenset[tuple[str, str]]] = {}  # what it was then: keys and severities
        self._lock = threading.Lock()
        self._waiting: Job | None = None
        self._thread: threading.Thread | None = None

    def tell(self, snapshot: Snapshot) -> None:
        """Compute and remember the alerts of a cycle, and leave the sending to the thread.

        Raises StoreUnavailable if the state database does not answer; the next cycle makes up for it.
        """
        now = snapshot.time
        parts = self._look(snapshot)
        alerts = rules.alerts_of(snapshot, self._settings, now, parts)
        before = self._memory.held()
        step = hold.step(before, alerts, self._settings, now, rules.undecided(alerts, parts))
        self._memory.keep_held(before, step.held)
        self._tally.dropped("all", step.left_out)
        self._active = Counter(held.alert.name for held in step.on)
        self._hand_over(Job(step.on, step.ended, step.raised))

    def metrics(self) -> Mapping[str, float]:
        """Counters per receiver, and the number of alerts that are on, under their names in Prometheus' format."""
        active = {f'forewarn_alerts_active{{alertname="{name}"}}': float(n) for name, n in self._active.items()}
        return {**active, **self._tally.counts()}

    def close(self) -> None:
        """Let the thread end what it sends, for as long as the settings say."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(self._settings.close_s)

    def _look(self, snapshot: Snapshot) -> dict[Place, Part]:
        before = self._memory.seen() if self._seen is None else self._seen
        after = seen.look(before, snapshot, self._settings.forget_s)
        self._memory.keep_seen(before, after, snapshot.time)
        self._seen = after
        return after

    # --- The thread ---------------------------------------------------------------------------------------------------

    def _hand_over(self, job: Job) -> None:
        """Put the job where the thread takes it, and start the thread if none runs: it ends when nothing waits."""
        with self._lock:
            self._waiting = job.after(self._waiting)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="alerts", daemon=True)
                thread.start()
                self._thread = thread  # only now: one that could not start must not count as running

    def _run(self) -> None:
        try:
            while (job := self._take()) is not None:
                self._send(job)
        finally:
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _take(self) -> Job | None:
        with self._lock:
            job, self._waiting = self._waiting, None
            if job is None:
                self._thread = None  # under the lock: whoever brings the next job starts a new thread
            return job

    def _send(self, job: Job) -> None:
        for name, alertmanager in self._receivers.alertmanagers:
            self._post(name, alertmanager, job)
        if self._receivers.notifier is None:
            return
        now = self._clock.now()
        told = self._receivers.notifier.tell(job.on, job.ended, now)
        try:
            self._memory.told(told, now)
        except ForewarnError as error:
            logger.warning("after a restart people may be told twice: %s", error)

    def _post(self, name: str, alertmanager: Alertmanager, job: Job) -> None:
        """Send all that is on if it is due or has changed, and what is over once."""
        keys = frozenset((held.alert.key, str(held.alert.severity)) for held in job.on)
        over = _over(job)
        if not over and keys == self._last.get(name) and not self._due(name):
            return
        now, word = self._clock.now(), self._receivers.wording
        alerts = [word.ended(held, now) for held in over] + [word.on(held, now) for held in job.on]
        try:
            alertmanager.post(alerts)
        except ReceiverUnavailable as error:
            self._tally.failed(name, str(error))
            self._last.pop(name, None)
            return
        if alerts:
            self._tally.sent(name, len(alerts))
        self._sent_at[name], self._last[name] = self._clock.monotonic(), keys

    def _due(self, name: str) -> bool:
        passed = self._clock.monotonic() - self._sent_at[name]
        return passed >= self._settings.alertmanager.resend_s


def _over(job: Job) -> Sequence[Held]:
    """What ended, and the old labels of what became more severe, unless these very labels are on again."""
    on = [held.alert.labels for held in job.on]
    return [held for held in (*job.raised, *job.ended) if held.alert.labels not in on]
