"""A host that has fallen silent is unknown, whatever it showed before."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from forewarn.domain.inventory import Kind
from forewarn.domain.risk import FailureForecast
from forewarn.predict.fresh import fresh, last_heard
from forewarn.store.base import DEVICES

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
CURVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def forecast(host: str) -> FailureForecast:
    return FailureForecast(f"cpu:{host}/cpu", Kind.CPU, host, "cpu", NOW, CURVE, CURVE, CURVE, model="rules")


def devices(*seen: tuple[str, datetime]) -> pa.Table:
    rows = [
        {
            "component": f"part{n}",
            "kind": "cpu",
            "host": host,
            "device": "cpu",
            "model": "",
            "first_seen": NOW,
            "last_seen": at,
        }
        for n, (host, at) in enumerate(seen)
    ]
    return pa.Table.from_pylist(rows, schema=DEVICES)


def test_a_host_was_last_heard_when_its_last_part_was() -> None:
    early, late = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    assert last_heard(devices(("a", late), ("a", early), ("b", early))) == {"a": late, "b": early}
    assert last_heard(devices()) == {}


@pytest.mark.parametrize("kind", ["power", "host"])
def test_a_bmc_that_tells_of_itself_and_of_supplies_does_not_speak_for_a_host_with_other_parts(kind: str) -> None:
    early, late = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    of_power = devices(("a", late), ("b", late)).to_pylist()
    for row in of_power:
        row["kind"] = kind
    both = pa.Table.from_pylist([*of_power, *devices(("a", early)).to_pylist()], schema=DEVICES)
    assert last_heard(both) == {"a": early, "b": late}


def test_what_a_host_showed_before_it_fell_silent_says_nothing_any_more() -> None:
    heard = {"a": NOW - timedelta(seconds=301), "b": NOW - timedelta(seconds=300)}
    silent, speaking, unheard = fresh([forecast("a"), forecast("b"), forecast("c")], heard, 300.0, NOW)
    assert silent.unknown
    assert silent.unknown_because == "no telemetry for 5 min"
    assert (silent.probabilities, silent.low, silent.high, silent.reasons) == ((), (), (), ())
    assert (speaking, unheard) == (forecast("b"), forecast("c"))
