"""The doctor's look at a site's own database: whether it answers, what is understood, and whom it tells nothing of."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from forewarn.assemble.telemetry import StoreSettings, source_of
from forewarn.clock import RealClock
from forewarn.domain.finding import Finding, State
from forewarn.errors import ForewarnError, StateError
from forewarn.state.snapshot import SnapshotFile
from forewarn.store.label_rules import LabelRules
from forewarn.store.survey import Survey, survey
from forewarn.store.windows import microseconds

_NAMED_MAX = 5  # names in one sentence


def database_answers(folder: Path, settings: StoreSettings, now: datetime) -> Iterator[Finding]:
    """Everything that is found of the database that `settings` name. It is asked for its newest minutes."""
    place = settings.remote.url
    source = None
    try:
        source = source_of(settings, RealClock())
        yield Finding("store", State.OK, f"{source.check()} answers", place=place)
        seen = survey(source, LabelRules(settings.labels), microseconds(now))
    except ForewarnError as problem:
        yield Finding("store", State.ERROR, str(problem), "see [store.remote] of the configuration", place)
        return
    finally:
        if source is not None:
            source.close()
    yield from _mapped(seen, place)
    yield from _unmapped(seen, place)
    yield from _hosts(seen, folder, place)


def _mapped(seen: Survey, place: str) -> Iterator[Finding]:
    if not seen.parts:
        text = "it has shown no series of the last 10 minutes that Forewarn understands"
        remedy = "docs/stores.md says what exporters are understood, and how others' names are told (store.labels)"
        yield Finding("labels", State.ERROR, text, remedy, place)
        return
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(seen.parts.items()))
    yield Finding("labels", State.OK, f"{len(seen.hosts)} hosts are understood, with {kinds}", place=place)


def _unmapped(seen: Survey, place: str) -> Iterator[Finding]:
    if seen.nowhere:
        text = f"{_counted(seen.nowhere)} lead to no host, such as {seen.nowhere_example}"
        yield Finding("labels", State.WARNING, text, "name the label of the host in store.labels.host_labels", place)
    if seen.partless:
        text = f"{_counted(seen.partless)} lead to no part, such as {seen.partless_example}"
        yield Finding("labels", State.NOTE, text, "where it tells of one, add it to [[store.labels.renames]]", place)
    for kind, number in sorted(seen.nameless.items()):
        text = f"{number} parts of kind {kind} are known by their place alone: a swap shows as the same part"
        remedy = "let an exporter tell serial numbers: smartctl_exporter, or node_exporter from 1.4 on"
        yield Finding("labels", State.NOTE, text, remedy, place)


def _counted(names: Counter[str]) -> str:
    """How many series, and the most frequent names of them."""
    often = ", ".join(name for name, _ in names.most_common(_NAMED_MAX))
    return f"{names.total()} series ({often}{', …' if len(names) > _NAMED_MAX else ''})"


def _hosts(seen: Survey, folder: Path, place: str) -> Iterator[Finding]:
    """Hosts of the placement service, as the last cycle saw them, of which the database tells nothing."""
    try:
        snapshot = SnapshotFile(folder / "snapshot.json").read()
    except (StateError, OSError):
        return
    named = {host.name for host in snapshot.cluster.hosts} if snapshot else set()
    silent = sorted(named - seen.hosts)
    if silent:
        text = f"{len(silent)} hosts of the placement service have no telemetry: {', '.join(silent[:_NAMED_MAX])}"
        yield Finding("labels", State.WARNING, text, _nearest(silent[0], seen.hosts), place)


def _nearest(name: str, hosts: Collection[str]) -> str:
    near = get_close_matches(name, sorted(hosts), n=1, cutoff=0.3)
    if near and near[0].partition(".")[0] == name:
        return f"telemetry calls {name} {near[0]}: set store.labels.cut_domain"
    if near:
        return f"is it {near[0]} to telemetry? Say so in [store.labels.hosts]"
    return "let it be scraped, or say in [store.labels.hosts] what telemetry calls it"
