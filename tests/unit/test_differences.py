"""Two plans side by side."""

from dataclasses import replace

from forewarn.decide.differences import Comparison, compare
from forewarn.decide.policy import PolicySettings
from forewarn.domain.inventory import Criticality, Kind
from forewarn.domain.plan import Plan
from forewarn.domain.situation import Situation
from tests.clusters import NOW, host, part, plan, situation, vm

SETTINGS = PolicySettings(thresholds={"cpu": 0.1, "power": 0.1})
SEEN = situation([host("a"), host("b"), host("c")], [vm("v", "a", Criticality.HIGH), vm("w", "a")], risks={"a": 0.5})


def planned(seen: Situation, settings: PolicySettings = SETTINGS) -> Plan:
    return plan(seen, settings, NOW)[0]


def test_a_plan_does_not_differ_from_itself() -> None:
    made = planned(SEEN)
    assert compare(made, made) == Comparison(2, 2, 2)
    assert list(compare(made, made).lines()) == ["Moves: 2 before, 2 after, 2 of them the same."]


def test_a_vm_that_one_policy_moves_and_the_other_leaves_is_told_with_both_reasons() -> None:
    found = compare(planned(SEEN), planned(SEEN, replace(SETTINGS, margin_minutes=1000.0)))
    assert (found.moves_before, found.moves_after, found.same) == (2, 1, 1)
    (difference,) = found.vms
    assert (difference.vm, difference.after) == ("vm-w", None)
    assert difference.text.startswith("vm-w: before to c (Cost-Benefit): VM vm-w (NORMAL) goes from a to c, because")
    assert "; after it stays: VM vm-w (NORMAL) stays on a although cpu of a fails" in difference.text


def test_a_vm_that_goes_elsewhere_differs() -> None:
    fuller = situation([host("a"), host("b"), host("c", gib=8)], SEEN.cluster.vms, risks={"a": 0.5})
    (difference,) = compare(planned(fuller), planned(SEEN)).vms
    assert difference.text.startswith("vm-w: before to b (Cost-Benefit): VM vm-w")
    assert "; after to c (Cost-Benefit): VM vm-w" in difference.text


def test_tickets_and_cordons_that_come_or_go_are_told() -> None:
    parts = [part("a", Kind.POWER, whole_host=False), part("b"), part("c")]
    seen = situation(SEEN.cluster.hosts, parts=parts, risks={"power:a/power": 0.5, "b": 0.5})
    quiet = planned(seen, replace(SETTINGS, thresholds={"cpu": 0.9, "power": 0.9}))
    found = compare(planned(seen), quiet)
    assert ([text.split()[0] for text in found.tickets_gone], found.cordons_gone) == (["power"], ("b",))
    assert [line.split(":")[0] for line in found.lines()] == ["Moves", "ticket no more", "cordoned no more"]
    back = compare(quiet, planned(seen))
    assert [line.split(":")[0] for line in back.lines()] == ["Moves", "new ticket", "newly cordoned"]
