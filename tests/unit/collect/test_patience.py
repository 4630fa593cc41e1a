"""A collector that hangs costs a round its own samples, is not asked again, and counts late where it comes back."""

import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.agent import Agent, AgentSettings
from forewarn.collect.base import Collected, Collector, Round
from forewarn.collect.patience import Patience
from forewarn.domain.telemetry import Sample
from tests.frozen import find
from tests.support import eventually

LIMIT_S = 0.2


class Sound(Collector):
    """A source that answers at once."""

    name = "sound"

    def collect(self) -> Iterable[Collected]:
        return [Sample("node_load1", {}, 1.0)]


class Hanging(Collector):
    """A source that hangs like a read of a broken device, until it is let go."""

    name = "hanging"

    def __init__(self) -> None:
        self.goes_on, self.asked = threading.Event(), 0

    def collect(self) -> Iterable[Collected]:
        self.asked += 1
        self.goes_on.wait()
        return [Sample("node_disk_reads_completed_total", {"device": "sda"}, float(self.asked))]


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    found = Hanging()
    yield found
    found.goes_on.set()


def agent(*collectors: Collector) -> Agent:
    clock = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
    return Agent(collectors, _nowhere, clock, AgentSettings(collector_timeout_s=LIMIT_S))


def _nowhere(_: Round) -> None:
    """The test looks at each round itself."""


def ups(found: Round) -> dict[str, float]:
    return find(list(found.samples), "forewarn_collector_up")


def test_a_collector_that_hangs_hides_no_other_and_says_so(hanging: Hanging) -> None:
    found = agent(hanging, Sound()).round()
    assert ups(found) == {"collector=hanging": 0, "collector=sound": 1}
    why = find(list(found.samples), "forewarn_collector_problem")
    assert why == {f"collector=hanging why=no answer within {LIMIT_S} s": 1}
    assert find(list(found.samples), "node_load1") == {"": 1}


def test_it_is_not_asked_again_while_it_hangs_and_its_late_answer_counts(hanging: Hanging) -> None:
    watched = agent(hanging, Sound())
    for _ in range(3):
        assert ups(watched.round())["collector=hanging"] == 0
    assert hanging.asked == 1
    hanging.goes_on.set()
    reads = "node_disk_reads_completed_total"
    late = eventually(lambda: find(list(watched.round().samples), reads), 10.0, 0.05)
    assert late == {"device=sda": 1}
    assert find(list(watched.round().samples), reads) == {"device=sda": float(hanging.asked)}
    assert hanging.asked >= 2


def test_of_a_collector_that_hangs_nothing_is_concluded(hanging: Hanging) -> None:
    hanging.goes_on.set()
    watched = agent(hanging)
    watched.round()
    hanging.goes_on.clear()
    told = [sample.name for sample in watched.round().samples]
    assert "forewarn_collector_problem" in told
    assert "forewarn_telemetry_vanished_total" not in told


def test_calls_that_return_share_one_thread_and_one_that_hangs_leaves_one_behind() -> None:
    patience, let_go = Patience[int](LIMIT_S), threading.Event()
    before = threading.active_count()
    assert [patience.ask(str(number), lambda: 7) for number in range(20)] == [7] * 20
    assert threading.active_count() - before == 1
    assert patience.ask("hangs", lambda: int(let_go.wait())) is None
    assert patience.ask("other", lambda: 8) == 8
    assert threading.active_count() - before == 2
    let_go.set()
    assert eventually(lambda: patience.ask("hangs", lambda: 9), 10.0, 0.05) == 1
    eventually(lambda: threading.active_count() - before == 1, 10.0, 0.05)
