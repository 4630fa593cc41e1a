"""The log says once that a part wants a look or that a VM finds no place, and says when the ticket is over."""

from dataclasses import replace
from datetime import timedelta

from forewarn.decide.policy import PolicySettings
from forewarn.decide.told import Told, tell
from forewarn.domain.inventory import Component, Criticality, Kind
from forewarn.domain.situation import Breaker, Situation
from tests.clusters import NOW, host, part, plan, situation, vm

POLICY = PolicySettings(threshold_fallback=0.1, hold_down_cycles=2)
SUPPLIES = [part("a", Kind.POWER, device, group="a/psu", spares=1) for device in ("PSU1", "PSU2")]


class Log:
    """A loop of situations that keeps the ladder and what was told."""

    def __init__(self) -> None:
        self.told = Told()
        self.seen: Situation | None = None
        self.time = NOW

    def cycle(self, seen: Situation) -> list[str]:
        self.time += timedelta(minutes=1)
        made, ladder = plan(replace(seen, ladder=self.seen.ladder if self.seen else ()), POLICY, self.time)
        lines, self.told = tell(self.told, seen, made, ladder)
        self.seen = replace(seen, ladder=ladder)
        assert all(line.time == self.time for line in lines)
        return [line.text for line in lines]


def supplies(risk: float | None, parts: list[Component] = SUPPLIES) -> Situation:
    return situation([host("a"), host("b")], [vm("v", "a")], parts=[*parts, part("b")], risks={"power:a/PSU1": risk})


def test_a_ticket_is_told_when_it_opens_and_when_it_closes() -> None:
    log = Log()
    (line,) = log.cycle(supplies(0.5))
    assert line.startswith("a: ticket: power PSU1 of a fails within 7 d with p=0.5, over its threshold 0.1; ")
    assert line.endswith("; 1 more of a/psu can fail before VMs do")
    assert log.cycle(supplies(0.6)) == []
    assert log.cycle(supplies(1e-6)) == []
    assert log.cycle(supplies(1e-6)) == ["a: ticket closed: power PSU1 is no longer suspected"]
    assert log.cycle(supplies(1e-6)) == []


def test_a_part_that_falls_silent_keeps_its_ticket() -> None:
    log = Log()
    assert len(log.cycle(supplies(0.5))) == 1
    assert log.cycle(supplies(None)) == []
    assert log.cycle(supplies(0.5)) == []


def test_a_ticket_about_a_lost_feed_closes_with_its_return_and_not_with_silence() -> None:
    def fed(risk: float | None, look_at: str) -> Situation:
        seen = supplies(risk)
        told = (replace(each, look_at=look_at if each.device == "PSU1" else "") for each in seen.forecasts)
        return replace(seen, forecasts=tuple(told))

    log, text = Log(), "the feed of PSU1 is lost: look at the PDU"
    assert log.cycle(fed(1e-6, text)) == [f"a: ticket: {text}"]
    assert log.cycle(fed(None, "")) == []
    assert log.cycle(fed(1e-6, text)) == []
    assert log.cycle(fed(1e-6, "")) == ["a: ticket closed: power PSU1 shows no sign of that any more"]


def test_a_ticket_closes_with_the_last_spare_and_with_its_part() -> None:
    log, alone = Log(), [replace(SUPPLIES[0], spares=0)]
    log.cycle(supplies(0.5))
    assert log.cycle(supplies(0.5, alone)) == [
        "a: ticket closed: no spare of a/psu is left, so VMs move for power PSU1 now"
    ]
    log = Log()
    log.cycle(supplies(0.5))
    assert log.cycle(supplies(0.5, SUPPLIES[1:])) == [
        "a: ticket closed: power PSU1 is gone: it failed, or was taken out"
    ]


def test_a_vm_that_finds_no_place_is_told_once() -> None:
    def crowded(gib: int) -> Situation:
        movers = [vm("v", "a", Criticality.HIGH, gib=64)]
        return situation([host("a"), host("b", gib=gib)], movers, risks={"a": 0.5})

    log = Log()
    (line,) = log.cycle(crowded(32))
    assert line.startswith("VM vm-v (HIGH) stays on a although cpu of a fails")
    assert line.endswith("no host can take vm-v")
    assert log.cycle(crowded(32)) == []
    assert log.cycle(crowded(256)) == []
    assert len(log.cycle(crowded(32))) == 1


def test_while_the_breaker_is_tripped_no_ticket_is_told_and_what_was_told_is_remembered() -> None:
    log = Log()
    assert len(log.cycle(supplies(0.5))) == 1
    tripped = Breaker("4 of 20 hosts turned risky")
    both = situation([host("a"), host("b")], parts=[*SUPPLIES, part("b")], risks={"a": 0.5})
    assert log.cycle(replace(both, breaker=tripped)) == []
    (line,) = log.cycle(both)
    assert "power PSU2" in line
