"""What the loop itself notices of hosts from one cycle to the next: that one fell silent, or that work on it began.

Silence is evidence, and weak: an agent dies more often than its host, and a network more often than either. So where
most hosts are silent at once nothing is said of any of them, and nothing of one that is worked on or known to be down.
"""

from collections.abc import Mapping
from datetime import datetime

from forewarn.domain.authority import WindowKind
from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent
from forewarn.domain.inventory import Host, HostState, Kind
from forewarn.domain.situation import Situation

SILENCE = "silence"
SILENCE_CONFIDENCE = 0.3
MANY = 0.5  # share of silent hosts from which on it is rather the network, or this server, that is at fault


def silences(
    situation: Situation, heard: Mapping[str, datetime], silent_s: float, since: datetime, now: datetime
) -> list[FailureEvent]:
    """A failure for each host that fell silent since `since` (when this loop began to listen), at its last word."""
    hosts = {host.name: host for host in situation.cluster.hosts if host.name in heard}
    silent = [name for name in hosts if (now - heard[name]).total_seconds() > silent_s]
    if not silent or len(silent) >= MANY * len(hosts):
        return []
    text = f"the host has fallen silent: no telemetry for {silent_s / 60:.0f} min"
    return [
        FailureEvent(heard[name], name, Kind.HOST, "", SILENCE, text, SILENCE_CONFIDENCE)
        for name in silent
        if heard[name] >= since
        and hosts[name].state is not HostState.DOWN
        and not worked_on(hosts[name], situation, heard[name])
    ]


def worked_on(host: Host, situation: Situation, time: datetime) -> bool:
    """Whether somebody has the host in maintenance, by its placement service or by an announced window."""
    return host.state is HostState.MAINTENANCE or any(
        window.kind is WindowKind.MAINTENANCE and window.covers(host.name, time) for window in situation.windows
    )


def maintenance(
    before: Mapping[str, bool], situation: Situation, now: datetime
) -> tuple[dict[str, bool], list[ChangeEvent]]:
    """Which hosts are worked on now, and a change for each on which work began or ended since `before`."""
    known = {host.name: worked_on(host, situation, now) for host in situation.cluster.hosts}
    words = {True: "maintenance", False: "in service"}
    changes = [
        ChangeEvent(now, name, ChangeKind.MAINTENANCE, "", words[before[name]], words[works])
        for name, works in known.items()
        if name in before and before[name] is not works
    ]
    return known, changes
