"""What makes a VM critical: a declaration, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.decide.criticality import infer
from forewarn.domain.inventory import Criticality

HIGH, NORMAL, LOW = Criticality.HIGH, Criticality.NORMAL, Criticality.LOW


@pytest.mark.parametrize("level", list(Criticality))
def test_our_own_declaration_wins_over_everything(level: Criticality) -> None:
    metadata = {"forewarn:criticality": f" {level.upper()} ", "HA_Enabled": "true"}
    assert infer("test-vm", metadata, ["forewarn-low"]) == (level, f"declared: forewarn:criticality={level}")


@pytest.mark.parametrize(("value", "level"), [("True", HIGH), ("1", HIGH), ("yes", HIGH), ("False", LOW), ("off", LOW)])
def test_masakari_s_flag_is_a_declaration(value: str, level: Criticality) -> None:
    assert infer("db-1", {"HA_Enabled": value}) == (level, f"declared: HA_Enabled={value.lower()}")


@pytest.mark.parametrize("level", list(Criticality))
def test_a_tag_of_ours_is_a_declaration(level: Criticality) -> None:
    assert infer("db-1", tags=["x", f"Forewarn-{level}"]) == (level, f"declared: tag forewarn-{level}")


@pytest.mark.parametrize("name", ["ci-runner-7", "web.TEST.example", "dev_db", "loadbench-tmp"])
def test_a_name_that_says_nobody_waits_makes_a_vm_low_and_says_why(name: str) -> None:
    level, why = infer(name)
    assert level is LOW
    assert why.startswith("inferred: the name says '")


def test_a_tag_may_say_so_too() -> None:
    assert infer("x", tags=["prod", "batch"]) == (LOW, "inferred: the tag says 'batch'")


def test_a_word_inside_another_says_nothing() -> None:
    assert infer("devon-latest-contest") == (NORMAL, "inferred: nothing declared, nothing in name or tags")


def test_an_unreadable_declaration_is_told_and_not_obeyed() -> None:
    level, why = infer("web-1", {"forewarn:criticality": "critical"})
    assert level is NORMAL
    assert why.endswith("(forewarn:criticality=critical is none of high, normal, low)")


def test_a_flag_that_is_neither_true_nor_false_declares_nothing() -> None:
    assert infer("web-1", {"HA_Enabled": "maybe"})[0] is NORMAL


@given(st.text(), st.dictionaries(st.text(), st.text()), st.lists(st.text()))
def test_what_is_inferred_is_never_high(name: str, metadata: dict[str, str], tags: list[str]) -> None:
    level, source = infer(name, metadata, tags)
    assert source.startswith(("declared: ", "inferred: "))
    assert level is not HIGH or source.startswith("declared: ")
