"""The life of models beside the control loop: trained on the site's history, promoted, watched, and rolled back.

A round of upkeep never holds a cycle up: it runs on a thread of its own, asks the store for one day at a time, fits in
a process of its own, and hands a new champion over between two cycles. What people ask for reaches it through the same
requests as everything else, once the loop has taken them. One training runs at a time.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from forewarn.clock import Clock
from forewarn.domain.events import LabelState
from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.situation import LogLine, Severity
from forewarn.errors import ForewarnError, ModelError
from forewarn.features import frame
from forewarn.ledger import Judged
from forewarn.predict import site_rows
from forewarn.predict.drift import breaks_its_word, drifted
from forewarn.predict.site_rows import LabelSettings, SiteEvents
from forewarn.predict.trees import TreesPredictor, matrix
from forewarn.predict.versions import Registry
from forewarn.state.events import FailureEvents
from forewarn.state.requests import Request, RequestKind, Requests
from forewarn.state.snapshot import write_whole
from forewarn.store.base import TelemetryStore

logger = logging.getLogger(__name__)
ASKED = (RequestKind.PROMOTE, RequestKind.ROLL_BACK, RequestKind.TRAIN)
OWN_NAME = "Forewarn"
LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class UpkeepSettings:
    """How models are kept up."""

    registry: str = ""
    """Folder or fsspec URL (such as s3://bucket/forewarn) of this site's models; empty for `models` in its own
    folder. What its libraries need to reach a storage, they take from the environment (`AWS_ENDPOINT_URL` and such)."""
    interval_s: float = 30.0
    """Seconds between two looks at the registry and at what people asked for."""
    kinds: tuple[str, ...] = ()
    """Kinds of parts of which models are trained on a schedule; none by default."""
    every_days: float = 7.0
    """Days from one scheduled training of a kind to the next."""
    history_days: float = 730.0
    """Days of the site's history that are learned from, at most."""
    judge_days: float = 30.0
    """Days at the end of that history on which a candidate is judged against the champion; never learned from."""
    promote: bool = False
    """Whether a candidate takes over by itself where it is not worse with confidence; else a person promotes it."""
    roll_back: bool = True
    """Whether a champion that broke its word, or whose telemetry became another, gives way to the one before it."""
    drift_every_days: float = 1.0
    """Days between two looks at whether champions drift."""
    psi_max: float = 0.25
    """Population stability index above which a column counts as another population; 0.25 is the field's custom."""
    drifted_share: float = 0.3
    """Share of a model's columns that must be beyond `psi_max` before its telemetry counts as another one."""
    drift_parts_min: int = 100
    """Parts whose columns are compared, at least; the shares of fewer say little."""
    broken_chance: float = 0.01
    """A champion broke its word where so few of its judged forecasts would come true by a chance below this (0..1)."""
    broken_judged_min: int = 10
    """Judged forecasts of a champion before its word is weighed, at least."""
    train_s_max: float = 14_400.0
    """Seconds after which a fit that does not end is ended."""
    days_at_once: int = 4
    """Days of rows that one question to the store is about; more of them are faster and hold a cycle up longer."""
    labels: LabelSettings = field(default_factory=LabelSettings)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.kinds) - set(COMPONENT_KINDS)):
            raise ValueError(f"kinds names {unknown[0]}; known are: {', '.join(COMPONENT_KINDS)}")
        if self.interval_s <= 0 or self.every_days <= 0:
            raise ValueError("interval_s and every_days are above 0")


@dataclass(frozen=True)
class Site:
    """What upkeep reads of a site, and where it says what it did."""

    store: TelemetryStore
    failures: FailureEvents
    requests: Requests
    moves: Callable[[datetime], Iterable[Outcome]]
    judged: Callable[[], Iterable[Judged]]
    simulated: Callable[[], bool]
    say: Callable[[LogLine], None]
    serve: Callable[[Kind, TreesPredictor], None]
    pinned: frozenset[Kind]  # kinds whose model the configuration names: the registry serves them none


@dataclass
class _Training:
    """A fit that runs in a process of its own."""

    kind: Kind
    process: "subprocess.Popen[str]"
    ends: float  # monotonic seconds
    progress: Path
    result: Path


class Upkeep:
    """Rounds of upkeep; `look` does one."""

    def __init__(self, site: Site, catalog: Catalog, folder: Path, clock: Clock, settings: UpkeepSettings) -> None:
        self.registry = Registry(settings.registry or str(folder / "models"), catalog)
        self._site, self._catalog, self._clock, self._settings = site, catalog, clock, settings
        self._folder, self._url = folder / "training", settings.registry or str(folder / "models")
        self._shown = folder / "models.json"
        self._since = clock.now() - timedelta(hours=1)  # what was asked shortly before a restart is not lost
        self._answered: set[int] = set()
        self._serving: dict[Kind, TreesPredictor] = {}
        self._refused: dict[Kind, tuple[str, ...]] = {}
        self._drift: dict[Kind, dict[str, Any]] = {}
        self._waiting: list[tuple[Kind, int]] = []
        self._training: _Training | None = None
        self._trained: dict[Kind, datetime] = {}
        self._drift_looked: datetime | None = None

    def run(self, stopped: Callable[[], bool]) -> None:
        """Look again and again until `stopped`; a place that cannot be reached is said once, and tried again."""
        said = ""
        while not stopped():
            try:
                self.look()
                said = ""
            except ForewarnError as error:
                if str(error) != said:
                    said = str(error)
                    self._say(f"models: {error}", Severity.WARNING)
            self._clock.sleep(self._settings.interval_s)
        self.stop()

    def look(self) -> None:
        """One round: what was asked for, who serves, what is in training, what is due, what drifts."""
        for request in self._asked():
            self._answer(request)
        for kind in COMPONENT_KINDS:
            self._renew(kind)
        self._follow()
        self._start_what_is_due()
        self._watch_drift()
        self._show()

    def begin(self) -> None:
        """Let the champions serve before the first cycle; a registry out of reach is said, and asked again later."""
        try:
            for kind in COMPONENT_KINDS:
                self._renew(kind)
        except ForewarnError as error:
            self._say(f"models: {error}", Severity.WARNING)

    def stop(self) -> None:
        """End a fit that runs; what it would have been is lost, and nothing else."""
        if self._training:
            self._training.process.kill()
            self._training.process.wait()
            self._training = None

    # --- what people ask for --------------------------------------------------------------------------

    def _asked(self) -> list[Request]:
        found = [r for kind in ASKED for r in self._site.requests.taken_since(kind, self._since)]
        return sorted((r for r in found if r.id not in self._answered), key=lambda request: request.id)

    def _answer(self, request: Request) -> None:
        """Do what was asked for, once, and say what came of it."""
        self._answered.add(request.id)
        kind = Kind(request.args.get("kind", Kind.DISK))
        if any(one.request == request.id for one in self.registry.line(kind).promotions):
            return  # done before a restart
        try:
            done = self._done(request, kind)
        except ModelError as error:
            self._say(f"request {request.id} is refused: {error}", Severity.WARNING)
            return
        self._say(f"request {request.id}: {done}", Severity.NOTICE)

    def _done(self, request: Request, kind: Kind) -> str:
        now, version = self._clock.now(), request.args.get("version", "")
        if request.kind is RequestKind.TRAIN:
            self._waiting.append((kind, request.id))
            return f"a model for {kind} is trained on this site's history as soon as no other is in training"
        if request.kind is RequestKind.PROMOTE:
            changed = self.registry.promote(kind, version, request.who, request.why, now, request.id)
            return f"version {version} {'is' if changed else 'was already'} the champion for {kind}"
        back = self.registry.roll_back(kind, request.who, request.why, now, request.id)
        return f"back to version {back} for {kind}"

    # --- who serves -----------------------------------------------------------------------------------

    def _renew(self, kind: Kind) -> None:
        """Hand over a champion that is new; what cannot be used is said once, and the last good one serves on."""
        if kind in self._site.pinned:
            return
        held = self._serving.get(kind)
        if held and self.registry.line(kind).champion == held.card.version and not self._refused.get(kind):
            return
        found = self.registry.serving(kind)
        if found.refused != self._refused.get(kind, ()):
            self._refused[kind] = found.refused
            still = found.model.name if found.model else held.name if held else "what serves without a registry"
            for text in found.refused:
                self._say(f"a champion for {kind} is refused: {text}; {still} serves on", Severity.WARNING)
        if found.model and (held is None or held.card.version != found.model.card.version):
            self._serving[kind] = found.model
            self._site.serve(kind, found.model)
            text = f"{kind} is forecast by {found.model.name}, learned from {found.model.learned_from}"
            self._say(text, Severity.NOTICE)

    # --- training -------------------------------------------------------------------------------------

    def _start_what_is_due(self) -> None:
        if self._training:
            return
        now = self._clock.now()
        due = [Kind(name) for name in self._settings.kinds if self._is_due(Kind(name), now)]
        asked = [kind for kind, _ in self._waiting]
        if kinds := [*asked, *due]:
            self._waiting = self._waiting[1:]
            self._trained[kinds[0]] = now
            self._start(kinds[0], now)

    def _is_due(self, kind: Kind, now: datetime) -> bool:
        """By the newest version's own words, so that a restart changes nothing."""
        last = self._trained.get(kind)
        if last is None:
            made = [v.verdict["made_at"] for v in self.registry.versions(kind) if "made_at" in v.verdict]
            last = datetime.fromisoformat(max(made)) if made else LONG_AGO
            self._trained[kind] = last
        return now - last >= timedelta(days=self._settings.every_days)

    def _start(self, kind: Kind, now: datetime) -> None:
        """Write the site's rows, day by day, and begin to fit."""
        settings, site = self._settings, self._site
        self._folder.mkdir(parents=True, exist_ok=True)
        rows, progress, result = (self._folder / f"{kind}.{end}" for end in ("parquet", "progress", "json"))
        lives = site_rows.lives(site.store.devices(kind), self.events(now), now, settings.labels)
        if not lives.num_rows:
            self._say(f"no model for {kind} is trained: no such part is known", Severity.WARNING)
            return
        first = min(start for start in lives.column("start").to_pylist() if start is not None)
        since = max(first, now - timedelta(days=settings.history_days))
        told = self._told(kind)
        window = (since, now)
        simulated, days = site.simulated(), settings.days_at_once
        write = site_rows.write
        write(site.store, self._catalog, kind, lives, window, rows, told, simulated=simulated, days_at_once=days)
        command = [sys.executable, "-m", "forewarn", "--verbose", "train", "--kind", kind, "--from", str(rows)]
        command += ["--registry", self._url, "--judge-days", str(settings.judge_days), "--json"]
        with progress.open("w") as said, result.open("w") as written:
            nice = ["nice", "-n", "10", *command] if os.name == "posix" else command
            process = subprocess.Popen(nice, stdout=written, stderr=said, text=True)
        ends = self._clock.monotonic() + settings.train_s_max
        self._training = _Training(kind, process, ends, progress, result)
        self._say(f"a model for {kind} is trained on this site's history since {since:%Y-%m-%d}", Severity.NOTICE)

    def events(self, now: datetime) -> SiteEvents:
        """What befell the site's parts: failures, and what Forewarn has moved away from."""
        acted: dict[str, list[datetime]] = {}
        for outcome in self._site.moves(LONG_AGO):
            if outcome.state is MoveState.SUCCEEDED:
                acted.setdefault(outcome.move.component, []).append(outcome.time)
        return SiteEvents(self._site.failures.between(LONG_AGO, now + timedelta(seconds=1)), acted)

    def _told(self, kind: Kind) -> Callable[[str], None]:
        def progress(text: str) -> None:
            self._show(f"{kind}: {text}")

        return progress

    def _follow(self) -> None:
        """See whether the fit has ended, and what came of it."""
        training = self._training
        if training is None:
            return
        if training.process.poll() is None:
            if self._clock.monotonic() > training.ends:
                self.stop()
                self._say(f"the training of a model for {training.kind} was ended: it took too long", Severity.WARNING)
            return
        self._training = None
        if training.process.returncode:
            why = (training.progress.read_text().splitlines() or ["no word"])[-1]
            self._say(f"no model for {training.kind} came of the training: {why}", Severity.WARNING)
            return
        self._weigh(training.kind, json.loads(training.result.read_text()))

    def _weigh(self, kind: Kind, made: Mapping[str, Any]) -> None:
        """Promote a candidate that may take over by itself; else keep it with its report."""
        version, refusal = str(made["version"]), str(made["refusal"])
        if refusal:
            self._say(f"candidate {version} for {kind} is kept, not promoted: {refusal}", Severity.NOTICE)
        elif not self._settings.promote:
            said = f"it is not worse than {made['champion']}: `forewarn models promote` lets it serve"
            self._say(f"candidate {version} for {kind} is ready: {said}", Severity.NOTICE)
        else:
            why = f"not worse than {made['champion']} on the newest rows, with confidence"
            self.registry.promote(kind, version, OWN_NAME, why, self._clock.now())
            self._say(f"candidate {version} for {kind} is promoted: {why}", Severity.NOTICE)

    # --- drift ----------------------------------------------------------------------------------------

    def _watch_drift(self) -> None:
        now = self._clock.now()
        every = timedelta(days=self._settings.drift_every_days)
        if self._drift_looked and now - self._drift_looked < every:
            return
        self._drift_looked = now
        for kind, model in list(self._serving.items()):
            found = self._drift_of(kind, model, now)
            self._drift[kind] = found
            if found["why"] and self._settings.roll_back:
                self._give_way(kind, str(found["why"]), now)

    def _drift_of(self, kind: Kind, model: TreesPredictor, now: datetime) -> dict[str, Any]:
        """How far a champion's columns have drifted, whether it kept its word, and why it should give way."""
        settings = self._settings
        narrow = self._catalog.narrowed(kind, model.card.columns)
        seen = frame.build(self._site.store.features(narrow, kind, [now]), narrow, kind)
        drift = drifted(matrix(seen, model.card.columns), model.card.columns, model.card.reference)
        beyond = [one.column for one in drift if one.psi > settings.psi_max]
        ours = [j for j in self._site.judged() if j.kind is kind and j.model.startswith(model.name)]
        told = [j for j in ours if j.state in (LabelState.CONFIRMED, LabelState.REFUTED)]
        confirmed = sum(j.state is LabelState.CONFIRMED for j in told)
        chance = breaks_its_word([j.probability for j in told], confirmed)
        why = ""
        if len(told) >= settings.broken_judged_min and chance < settings.broken_chance:
            why = f"{confirmed} of {len(told)} judged forecasts came true, far fewer than they said"
        elif seen.num_rows >= settings.drift_parts_min and len(beyond) > settings.drifted_share * len(drift):
            why = f"{len(beyond)} of {len(drift)} columns are of another population now, {drift[0].column} most"
        worst = [{"column": one.column, "psi": round(one.psi, 4)} for one in drift[:5]]
        return {"why": why, "parts": seen.num_rows, "beyond": len(beyond), "worst": worst, "judged": len(told)}

    def _give_way(self, kind: Kind, why: str, now: datetime) -> None:
        try:
            back = self.registry.roll_back(kind, OWN_NAME, why, now)
        except ModelError as error:
            self._say(f"the model for {kind} drifts ({why}), and stays: {error}", Severity.WARNING)
            return
        self._say(f"the model for {kind} gives way to version {back}: {why}", Severity.WARNING)

    # --- what is shown --------------------------------------------------------------------------------

    def _say(self, text: str, severity: Severity) -> None:
        self._site.say(LogLine(self._clock.now(), severity, text))

    def _show(self, doing: str = "") -> None:
        """Leave what pages and API show: a file that is replaced whole, as the loop's own snapshot is."""
        training = self._training
        if training and not doing:
            doing = f"{training.kind}: {(training.progress.read_text().splitlines() or ['begun'])[-1]}"
        kinds = [self._shown_of(kind) for kind in COMPONENT_KINDS]
        told = {"time": self._clock.now().isoformat(), "registry": self._url, "training": doing, "kinds": kinds}
        write_whole(self._shown, json.dumps(told).encode())

    def _shown_of(self, kind: Kind) -> dict[str, Any]:
        versions = [
            {
                "version": one.name,
                "learned_from": one.card.learned_from if one.card else "",
                "outcomes_until": one.card.outcomes_until.isoformat() if one.card else "",
                "failures": one.card.failures if one.card else 0,
                "caution": one.card.caution if one.card else "",
                "verdict": dict(one.verdict),
                "refused": one.refused,
            }
            for one in self.registry.versions(kind)
        ]
        champion = self._serving[kind].card.version if kind in self._serving else ""
        line = [
            {"version": p.version, "at": p.at.isoformat(), "who": p.who, "why": p.why, "back": p.back}
            for p in self.registry.line(kind).promotions[-20:]
        ]
        drift = self._drift.get(kind, {})
        return {"kind": kind, "champion": champion, "versions": versions, "line": line, "drift": drift}
