"""InfluxDB as a telemetry store: a real one is started, written by line protocol, asked by InfluxQL, and ended."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest

from forewarn.clock import RealClock, SimulatedClock
from forewarn.domain.inventory import Kind
from forewarn.errors import ConfigurationError, StoreUnavailable
from forewarn.store.base import TelemetryStore
from forewarn.store.http import HttpSettings
from forewarn.store.influxdb import InfluxDB, InfluxSettings
from forewarn.store.remote import RemoteStore
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings
from forewarn.store.windows import HOUR, MINUTE, microseconds
from forewarn.testing import check_store
from tests import databases
from tests.integration.test_prometheus_store import Elsewhere

pytestmark = pytest.mark.integration

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
AT = microseconds(NOON)
HEAT: Key = ("heat", (("device", 'a "b", c=d\\'), ("instance", "h 1:9100")))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def url(tmp_path: Path, stack: ExitStack) -> str:
    """The address of an InfluxDB with the empty database `telegraf`."""
    return stack.enter_context(databases.influxdb(tmp_path / "influxdb")).url


def influx(url: str, settings: InfluxSettings | None = None, **http: object) -> InfluxDB:
    return InfluxDB(HttpSettings(url, retries_max=0, **http), RealClock(), settings)  # type: ignore[arg-type]


def influx_store(url: str) -> RemoteStore:
    return RemoteStore(influx(url), None, RealClock())


def readings(key: Key, *samples: tuple[int, float]) -> Readings:
    """Samples of one series: microseconds after noon, and values."""
    times = np.array([AT + after for after, _ in samples], np.int64)
    return Readings((key,), np.zeros(len(samples), np.int64), times, np.array([value for _, value in samples]))


def shown(found: Readings) -> list[tuple[Key, int, float | None]]:
    """Samples in order; None for a marker."""
    ordered = found.ordered()
    return [
        (found.series[of], time - AT, None if math.isnan(value) else value)
        for of, time, value in zip(ordered.of.tolist(), ordered.time.tolist(), ordered.value.tolist(), strict=True)
    ]


def put(url: str, lines: str) -> None:
    """What Telegraf would write; times are nanoseconds."""
    answer = httpx.post(f"{url}/write", params={"db": "telegraf"}, content=lines)
    assert answer.status_code == 204, answer.text


def do(url: str, query: str) -> None:
    answer = httpx.post(f"{url}/query", data={"q": query})
    assert "error" not in answer.text, answer.text


# --- the contract


def check_all(folder: Path, stack: ExitStack, make: Callable[[str], TelemetryStore]) -> None:
    made: list[str] = []

    def store() -> TelemetryStore:
        made.append(stack.enter_context(databases.influxdb(folder / str(len(made)))).url)
        return make(made[-1])

    check_store(store)
    assert len(made) == 5


def test_an_influxdb_keeps_the_contract_of_stores(tmp_path: Path, stack: ExitStack) -> None:
    check_all(tmp_path, stack, influx_store)


def test_what_was_put_into_an_influxdb_another_store_finds_there(tmp_path: Path, stack: ExitStack) -> None:
    check_all(tmp_path, stack, lambda url: Elsewhere(lambda: influx_store(url)))


# --- samples in and out


@pytest.mark.parametrize("compress", [True, False])
def test_samples_come_back_as_they_were_written(url: str, compress: bool) -> None:
    source = influx(url, InfluxSettings(compress=compress, body_samples_max=2))
    values = ((0, 1.0), (1, 0.1 + 0.2), (2, -1e300), (3, math.nan), (4, 1e-7), (HOUR, 123456789012345.0))
    assert source.write(readings(HEAT, *values)) == 0
    got = shown(source.read(["heat"], AT, AT + HOUR))
    name = ("heat", (("device", 'a "b", c=d/'), ("instance", "h 1:9100")))  # it cannot keep a backslash at an end
    assert got == [(name, after, None if math.isnan(value) else value) for after, value in values[1:]]


def test_an_interval_is_left_open_down_to_the_nanosecond(url: str) -> None:
    put(url, "\n".join(f"heat,instance=h1 value={ns} {AT * 1000 + ns}" for ns in (0, 999, 1000, 5999, 6000)))
    assert [value for *_, value in shown(influx(url).read(["heat"], AT, AT + 5))] == [1000.0, 5999.0]
    assert [value for *_, value in shown(influx(url).read(["heat"], AT + 5, AT + 6))] == [6000.0]


def test_the_newest_value_of_each_step_comes_at_its_end(url: str) -> None:
    source = influx(url)
    source.write(readings(HEAT, (0, 9.0), (1, 1.0), (MINUTE, 2.0), (MINUTE + 1, 3.0), (3 * MINUTE, math.nan)))
    steps = [(after, value) for _, after, value in shown(source.read(["heat"], AT, AT + 4 * MINUTE, MINUTE))]
    assert steps == [(MINUTE, 2.0), (2 * MINUTE, 3.0)]


def test_infinite_values_and_those_past_the_retention_are_counted_as_refused(url: str) -> None:
    do(url, "CREATE RETENTION POLICY brief ON telegraf DURATION 1h REPLICATION 1")
    source = influx(url, InfluxSettings(retention_policy="brief"))
    assert source.write(readings(HEAT, (0, math.inf), (1, -math.inf))) == 2
    assert source.write(readings(HEAT, (-(10**15), 1.0), (-(10**15) + 1, 2.0))) == 2


# --- what Telegraf writes

TELEGRAF = """\
smart_device,device=sda,host=hv1,model=ST4000,serial_no=ZA1,wwn=5000c500 exit_status=0i,health_ok=true,temp_c=34i {0}
smart_attribute,device=sda,fail=-,flags=PO--CK,host=hv1,id=5,name=Reallocated_Sector_Ct,serial_no=ZA1 \
exit_status=0i,raw_value=7i,threshold=10i,value=100i,worst=100i {0}
ipmi_sensor,host=hv1,name=psu1_vout,unit=volts status=1i,value=11.9 {0}
diskio,host=hv1,name=sda io_time=5i,read_time=1500i,reads=42i,write_time=10i,writes=9i {0}
net,host=hv1,interface=eth0 bytes_recv=1000i,bytes_sent=2000i,err_in=3i,err_out=0i,drop_in=1i {0}
cpu,cpu=cpu0,host=hv1 time_idle=90,time_user=10,usage_idle=90 {0}
mem,host=hv1 total=8000i,available=6000i,used_percent=25 {0}
"""


def test_what_telegraf_writes_leads_to_the_parts_of_its_hosts(url: str) -> None:
    put(url, TELEGRAF.format((AT - 60_000_000) * 1000))
    clock = SimulatedClock(NOON)
    with closing(RemoteStore(InfluxDB(HttpSettings(url), clock), None, clock)) as store:
        wanted = {
            ("disk:ZA1", "smart_5"): 7.0,
            ("disk:ZA1", "disk_temperature"): 34.0,
            ("disk:ZA1", "smart_status"): 1.0,
            ("disk:ZA1", "disk_reads"): 42.0,
            ("disk:ZA1", "disk_read_seconds"): 1.5,
            ("power:hv1/psu1", "psu_output_volts"): 11.9,
            ("network:hv1/eth0", "nic_receive_errors"): 3.0,
            ("cpu:hv1/cpu", "cpu_idle_seconds"): 90.0,
            ("host:hv1", "memory_available"): 6000.0,
        }
        hour = timedelta(hours=1)
        found = {
            (part, metric): store.series(part, metric, NOON - hour, NOON).column("value").to_pylist()
            for part, metric in wanted
        }
        assert found == {series: [value] for series, value in wanted.items()}
        (drive,) = store.devices(Kind.DISK).to_pylist()
        assert (drive["component"], drive["host"], drive["device"], drive["model"]) == (
            "disk:ZA1",
            "hv1",
            "sda",
            "ST4000",
        )


# --- what goes wrong


def test_an_address_where_nobody_answers() -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot be reached .*is store\.remote\.url right"):
        influx(f"http://127.0.0.1:{databases.free_port()}").read(["heat"], AT, AT + HOUR)


def test_an_address_where_something_else_answers(tmp_path: Path, stack: ExitStack) -> None:
    other = stack.enter_context(databases.victoria_metrics(tmp_path / "victoria")).url
    with pytest.raises(ConfigurationError, match=r"is no InfluxDB: store\.remote\.url names something else"):
        influx(other).check()


def test_a_database_that_is_not_there(url: str) -> None:
    source = influx(url, InfluxSettings(database="nowhere"))
    words = r"has no database 'nowhere': create it there, or name another in store\.influxdb\.database"
    for call in (
        lambda: source.read(["heat"], AT, AT + HOUR),
        lambda: source.write(readings(HEAT, (0, 1.0))),
        source.check,
    ):
        with pytest.raises(StoreUnavailable, match=words):
            call()


def test_a_retention_policy_that_is_not_there(url: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"has no retention policy 'gone': name another"):
        influx(url, InfluxSettings(retention_policy="gone")).write(readings(HEAT, (0, 1.0)))


def test_credentials_that_are_refused_and_such_that_are_taken(tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(databases.influxdb(tmp_path / "closed", auth=True)).url
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret\n")
    wrong.write_text("guess\n")
    for source in (influx(url), influx(url, username="admin", password_file=wrong)):
        for call in (lambda source=source: source.write(readings(HEAT, (0, 1.0))), source.check):
            with pytest.raises(StoreUnavailable, match="refuses the credentials"):
                call()
    source = influx(url, username="admin", password_file=right)
    assert source.write(readings(HEAT, (1, 1.0))) == 0
    assert len(source.read(["heat"], AT, AT + HOUR)) == 1
    assert "1.6" in source.check()


def test_a_field_of_another_type(url: str) -> None:
    put(url, f"heat,instance=h1 value=1i {AT * 1000}")
    with pytest.raises(StoreUnavailable, match=r"`value` has another type there.*field type conflict"):
        influx(url).write(readings(HEAT, (0, 1.5)))


def test_a_query_past_the_databases_limits_asks_for_less(tmp_path: Path, stack: ExitStack) -> None:
    """The store halves the span until the database answers."""
    limits = "[coordinator]\nmax-select-point = 2000\n"
    url = stack.enter_context(databases.influxdb(tmp_path / "small", data=limits)).url
    minutes = [(minute * MINUTE, float(minute)) for minute in range(1, 60 * 30)]
    named: Key = ("node_memory_MemTotal_bytes", (("instance", "h1:9100"),))
    assert influx(url).write(readings(named, *minutes)) == 0
    until = NOON + timedelta(hours=30)
    clock = SimulatedClock(until)
    with closing(RemoteStore(InfluxDB(HttpSettings(url), clock), None, clock)) as store:
        found = store.series("host:h1", "memory_total", NOON, until)
    assert found.num_rows == len(minutes)
