"""The moves in words, and the flow between hosts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.situation import Snapshot
from forewarn.web.migrations import OTHERS, Flow, chosen, flow_of, rows_of
from tests.shown import snapshot_of


@pytest.fixture(scope="module")
def busy() -> Snapshot:
    return snapshot_of()


def between(busy: Snapshot, *ways: tuple[str, str, MoveState]) -> list[Outcome]:
    like = busy.moves[5]
    return [
        replace(like, state=state, move=replace(like.move, id=f"m{i}", source=source, target=target))
        for i, (source, target, state) in enumerate(ways)
    ]


def drawn(flow: Flow) -> set[tuple[str, str, str, int]]:
    return {(r.source, r.target, str(r.state), r.moves) for r in flow.ribbons}


def test_each_outcome_has_its_words(busy: Snapshot) -> None:
    assert {row.state for row in rows_of(busy, busy.moves)} == {
        "running",
        "succeeded",
        "failed",
        "cancelled",
        "refused",
    }


def test_measured_times_are_shown_only_once_they_are_known(busy: Snapshot) -> None:
    for row in rows_of(busy, busy.moves):
        ended = row.outcome.state in (MoveState.SUCCEEDED, MoveState.FAILED, MoveState.CANCELLED)
        assert bool(row.duration) == ended
        assert bool(row.downtime) == (row.outcome.state == MoveState.SUCCEEDED)


def test_a_move_names_the_suspected_part_even_after_it_was_swapped(busy: Snapshot) -> None:
    gone = replace(busy.moves[0], move=replace(busy.moves[0].move, component="memory:host99/DIMM_Z9"))
    (row,) = rows_of(busy, [gone])
    assert row.device == "memory DIMM_Z9"


def test_moves_are_chosen_by_outcome_up_to_a_limit(busy: Snapshot) -> None:
    assert {o.state for o in chosen(busy, MoveState.FAILED, 100)} == {MoveState.FAILED}
    assert len(chosen(busy, None, 5)) == 5


def test_the_flow_joins_moves_of_one_way_and_outcome_to_one_band(busy: Snapshot) -> None:
    done, lost = MoveState.SUCCEEDED, MoveState.FAILED
    flow = flow_of(between(busy, ("a", "b", done), ("a", "b", done), ("a", "c", lost), ("d", "b", done)), 20)
    assert drawn(flow) == {("a", "b", "succeeded", 2), ("a", "c", "failed", 1), ("d", "b", "succeeded", 1)}
    assert [(node.name, node.moves) for node in flow.sources] == [("a", 3), ("d", 1)]
    assert [(node.name, node.moves) for node in flow.targets] == [("b", 3), ("c", 1)]


def test_a_refused_move_is_no_part_of_the_flow(busy: Snapshot) -> None:
    flow = flow_of(between(busy, ("a", "b", MoveState.REFUSED)), 20)
    assert flow.ribbons == ()
    assert flow.height == 0


def test_bands_at_a_host_lie_side_by_side_and_fill_it(busy: Snapshot) -> None:
    flow = flow_of(busy.moves, 20)
    for node in flow.sources:
        assert sum(r.width for r in flow.ribbons if r.source == node.name) == pytest.approx(node.height)
    ends = sorted((float(r.path.split()[2]), r.width) for r in flow.ribbons)
    apart = [after - before >= (one + two) / 2 - 0.2 for (before, one), (after, two) in pairwise(ends)]
    assert all(apart)


def test_many_hosts_are_joined_to_one_band(busy: Snapshot) -> None:
    ways: Sequence[tuple[str, str, MoveState]] = [(f"s{i}", f"t{i}", MoveState.SUCCEEDED) for i in range(30)]
    flow = flow_of(between(busy, *ways), 4)
    assert [node.name for node in flow.sources][-1] == OTHERS
    assert len(flow.sources) == len(flow.targets) == 5
    assert sum(node.moves for node in flow.sources) == 30
