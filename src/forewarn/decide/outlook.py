"""A situation as a policy sees it: which risks exceed their thresholds, who must receive nothing, who is on the move.

Everything here is looked up while a plan is made, so each answer is worked out once. Nothing is decided here.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property

from forewarn.decide import score
from forewarn.decide.narrate import horizon_name, part_name
from forewarn.decide.policy import PolicySettings
from forewarn.decide.restraint import successes, suspects, window_of
from forewarn.domain.inventory import Component, Kind, VirtualMachine
from forewarn.domain.plan import MoveState, Outcome, Refusal
from forewarn.domain.risk import FailureForecast, Risk
from forewarn.domain.situation import LadderStep, Rung, Situation


class Outlook:
    """A situation with the settings applied."""

    def __init__(
        self, situation: Situation, settings: PolicySettings, ladder: tuple[LadderStep, ...], now: datetime
    ) -> None:
        self.situation, self.settings, self.cluster = situation, settings, situation.cluster
        self.ladder, self.now = ladder, now
        self._oldest = now - timedelta(seconds=settings.restraint.forecast_age_s_max)
        self._rungs = {step.component: step.rung for step in ladder}
        self._probabilities = score.known(situation.forecasts, settings.horizon)
        self._thresholds = {kind: settings.threshold(kind) for kind in Kind}
        self._exposures: dict[tuple[str, timedelta], score.Exposure] = {}

    @cached_property
    def _notable(self) -> tuple[FailureForecast, ...]:
        """The forecasts that anything follows from: stale, unknown, over their threshold, or on the rung `move`.

        All others, nearly all of a fleet, are looked at this once.
        """
        oldest, rungs, probabilities, thresholds = self._oldest, self._rungs, self._probabilities, self._thresholds
        return tuple(
            forecast
            for forecast in self.situation.forecasts
            if forecast.time < oldest
            or not forecast.probabilities
            or probabilities[forecast.component] > thresholds[forecast.kind]
            or rungs[forecast.component] is Rung.MOVE
        )

    @cached_property
    def risks(self) -> Mapping[str, tuple[Risk, ...]]:
        """By host, in the order of names: its parts on the rung `move` and over their threshold, the worst first."""
        found: dict[str, list[Risk]] = {}
        for forecast in self._notable:
            if self.is_stale(forecast):
                continue
            if self._exceeds(forecast) and self._rungs[forecast.component] is Rung.MOVE:
                found.setdefault(forecast.host, []).append(self._risk(forecast))
        return {host: tuple(sorted(found[host], key=_by_excess)) for host in sorted(found)}

    @cached_property
    def unknowns(self) -> tuple[FailureForecast, ...]:
        """The forecasts that say nothing, by host and part."""
        unknown = (forecast for forecast in self._notable if forecast.unknown)
        return tuple(sorted(unknown, key=lambda forecast: (forecast.host, forecast.component)))

    @cached_property
    def stale(self) -> tuple[FailureForecast, ...]:
        """The forecasts that are too old to act on."""
        return tuple(forecast for forecast in self._notable if self.is_stale(forecast))

    @cached_property
    def blocked(self) -> Mapping[str, tuple[Refusal, str]]:
        """By host: why it must receive nothing, for what it risks itself or for what is done to it."""
        found: dict[str, tuple[Refusal, str]] = {}
        for host in self.cluster.hosts:
            if window := window_of(self.situation.windows, host.name, self.now):
                found[host.name] = window
            elif not self.settings.silent_may_receive and host.name not in self.situation.forecasts_by_host:
                found[host.name] = (Refusal.TARGET_RISKY, "nothing is known of its health")
        for forecast, why in self._blocking():
            found.setdefault(forecast.host, (Refusal.TARGET_RISKY, why))
        for name, cause in suspects(self.situation, self.ladder, self.settings.restraint).items():
            found.setdefault(name, (Refusal.TARGET_SUSPECT, cause))
        return found

    def exposure(self, host: str, horizon: timedelta) -> score.Exposure:
        """P(interrupted within `horizon`) of the VMs on a host."""
        key = (host, horizon)
        if key not in self._exposures:
            probabilities = score.known(self.situation.forecasts_by_host.get(host, ()), horizon)
            components = self.cluster.components_by_host.get(host, ())
            self._exposures[key] = score.exposure(components, probabilities, self._thresholds)
        return self._exposures[key]

    @cached_property
    def under_way(self) -> Mapping[str, str]:
        """The target of every VM whose move is intended or running."""
        return {outcome.move.vm: outcome.move.target for outcome in self.situation.in_flight if not outcome.state.final}

    @cached_property
    def moved_lately(self) -> Mapping[str, list[Outcome]]:
        """The moves of each VM that succeeded lately."""
        return successes(self.situation.recent)

    @cached_property
    def failed_at(self) -> Mapping[str, datetime]:
        """When a move of each VM last failed or was cancelled."""
        found: dict[str, datetime] = {}
        for outcome in self.situation.recent:
            if outcome.state in (MoveState.FAILED, MoveState.CANCELLED):
                found[outcome.move.vm] = max(outcome.time, found.get(outcome.move.vm, outcome.time))
        return found

    def component(self, risk: Risk) -> Component:
        """The part behind a risk; one that the inventory does not know has no proven path."""
        unknown = Component(risk.component, risk.kind, risk.host, device=risk.component)
        return self.cluster.component_by_id.get(risk.component, unknown)

    def reaches(self, risk: Risk, vm: VirtualMachine) -> bool:
        """Whether the part has been proven to lie in the path of this VM."""
        component = self.component(risk)
        return component.whole_host or vm.id in component.vms

    def spared(self, risk: Risk) -> bool:
        """Whether others stand in for the part, even if all of its group fail that are over their threshold too."""
        part = self.component(risk)
        falling = (other for other in self.risks.get(risk.host, ()) if self.component(other).group == part.group)
        return part.spares >= (sum(1 for _ in falling) if part.group else 1)

    def words(self, risk: Risk) -> str:
        """A risk in words: `disk S3Z8 of host03 fails within 7 d with p=0.41, over its threshold 0.03`."""
        return (
            f"{part_name(risk.component)} of {risk.host} fails within {horizon_name(risk.horizon)} "
            f"with p={risk.probability:.3g}, over its threshold {risk.threshold:.3g}"
        )

    def is_stale(self, forecast: FailureForecast) -> bool:
        """Whether a forecast is too old to act on."""
        return forecast.time < self._oldest

    def _exceeds(self, forecast: FailureForecast) -> bool:
        return self._probabilities.get(forecast.component, 0.0) > self._thresholds[forecast.kind]

    def _risk(self, forecast: FailureForecast) -> Risk:
        probability, threshold = self._probabilities[forecast.component], self._thresholds[forecast.kind]
        return Risk(forecast.component, forecast.kind, forecast.host, probability, self.settings.horizon, threshold)

    def _blocking(self) -> list[tuple[FailureForecast, str]]:
        """The forecasts that keep their hosts from receiving, by part, each with why."""
        found = [(forecast, why) for forecast in self._notable if (why := self._why_blocked(forecast))]
        return sorted(found, key=lambda blocking: blocking[0].component)

    def _why_blocked(self, forecast: FailureForecast) -> str:
        if self.is_stale(forecast):
            age_s = (self.now - forecast.time).total_seconds()
            return f"the forecast of its {part_name(forecast.component)} is {age_s:.0f} s old"
        if self._exceeds(forecast):
            return self.words(self._risk(forecast))
        if forecast.unknown and forecast.kind not in self.settings.unknown_may_receive:
            return f"the risk of its {part_name(forecast.component)} is unknown: {forecast.unknown_because}"
        if self._rungs[forecast.component] is Rung.MOVE:
            return f"its {part_name(forecast.component)} has not been below its threshold for long enough"
        return ""


def _by_excess(risk: Risk) -> tuple[float, str]:
    return -risk.probability / max(risk.threshold, 1e-12), risk.component
