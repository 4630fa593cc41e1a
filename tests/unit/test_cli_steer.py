"""What people ask for at the command line reaches the controller, and what they say of failures is kept."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from forewarn import cli
from forewarn.assemble.site import DATABASE_FILE
from forewarn.assemble.steer import desk, moment
from forewarn.clock import RealClock
from forewarn.domain.events import LabelState
from forewarn.domain.inventory import Kind
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, Rung
from forewarn.drivers.none import ObservedDriver
from forewarn.errors import ConfigurationError, RecordingError, StateError
from forewarn.ledger import Ledger
from forewarn.state.database import Database
from forewarn.state.leadership import Leadership
from forewarn.state.requests import Request, RequestKind, Requests
from forewarn.store.duckdb import DuckDBStore

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    Database(f"sqlite:///{tmp_path / DATABASE_FILE}").close()
    return tmp_path


@pytest.fixture
def database(state: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{state / DATABASE_FILE}")
    yield opened
    opened.close()


def run(state: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.app, [*words, "--state", str(state)], catch_exceptions=False)


def asked(database: Database) -> Request:
    (request,) = Requests(database).take()
    return request


@pytest.mark.parametrize(
    ("words", "kind", "args"),
    [
        (["mode", "automatic", "--kind", "disk"], RequestKind.MODE, {"mode": "automatic", "kind": "disk"}),
        (["mode", "observe", "--override"], RequestKind.MODE, {"mode": "observe", "override": "yes"}),
        (["pause"], RequestKind.PAUSE, {"running": "drain"}),
        (["pause", "--abort"], RequestKind.PAUSE, {"running": "abort"}),
        (["resume"], RequestKind.RESUME, {}),
        (["abort", "m1"], RequestKind.ABORT_MOVE, {"move": "m1"}),
        (["approve", "v1", "--from", "host01"], RequestKind.APPROVE, {"vm": "v1", "source": "host01"}),
        (["breaker", "clear"], RequestKind.CLEAR_BREAKER, {}),
        (["window", "close", "3"], RequestKind.CLOSE_WINDOW, {"window": "3"}),
    ],
)
def test_what_is_asked_for_waits_for_the_controller_and_is_audited(
    state: Path, database: Database, words: list[str], kind: RequestKind, args: dict[str, str]
) -> None:
    assert "Asked (request 1)" in run(state, *words, "--reason", "a drill").output
    request = asked(database)
    assert (request.kind, request.why, dict(request.args)) == (kind, "a drill", args)
    assert request.who.startswith("operator ")
    deed = json.loads((state / "audit.jsonl").read_text())
    assert (deed["action"], deed["why"], deed["who"]) == (f"request.{kind}", "a drill", request.who)


def test_a_window_is_asked_for_with_its_times(state: Path, database: Database) -> None:
    run(state, "window", "open", "--until", "2h", "--hosts", "rack1-*", "--kind", "freeze", "--reason", "a move")
    args = asked(database).args
    ends = datetime.fromisoformat(args["ends_at"])
    assert timedelta(minutes=119) < ends - RealClock().now() <= timedelta(hours=2)
    assert (args["kind"], args["hosts"], "starts_at" in args) == ("freeze", "rack1-*", False)


def test_without_a_reason_nothing_is_asked_for(state: Path, database: Database) -> None:
    with pytest.raises(StateError, match="needs a reason"):
        run(state, "pause", "--reason", " ")
    assert Requests(database).take() == ()


def test_a_folder_without_state_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nothing is kept in"):
        run(tmp_path, "pause", "--reason", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_moment_is_a_time_or_a_span_from_now() -> None:
    assert moment("90m", NOW) == NOW + timedelta(minutes=90)
    assert moment("7d", NOW) == NOW + timedelta(days=7)
    assert moment("2026-02-01T03:00:00", NOW) == datetime(2026, 2, 1, 3, tzinfo=UTC)
    with pytest.raises(ConfigurationError, match="is no time"):
        moment("tomorrow", NOW)


def test_a_failure_is_written_down_once_and_listed(state: Path) -> None:
    words = ["failures", "add", "--component", "disk:A", "--host", "h1", "--at", "2026-01-05T02:00:00Z"]
    assert "disk:A failed at 2026-01-05 02:00 UTC" in run(state, *words, "--reason", "clicking").output
    with pytest.raises(StateError, match="written down already"):
        run(state, *words, "--reason", "clicking")
    (told,) = json.loads(run(state, "failures", "list", "--json").output)["failures"]
    assert (told["component"], told["kind"], told["text"], told["state"]) == ("disk:A", "disk", "clicking", "confirmed")
    assert "clicking" in run(state, "failures", "list").output


@pytest.mark.parametrize(("word", "judged"), [("confirm", LabelState.CONFIRMED), ("refute", LabelState.REFUTED)])
def test_a_person_judges_a_forecast(state: Path, database: Database, word: str, judged: LabelState) -> None:
    now = RealClock().now()
    forecast = FailureForecast("disk:A", Kind.DISK, "h1", "sda", now, (0.5,) * 6, model="rules")
    ledger = Ledger(database)
    ledger.record([forecast], [LadderStep("disk:A", Rung.MOVE, now)], lambda _: 0.1, timedelta(days=7))
    assert "the latest forecast" in run(state, "failures", word, "disk:A", "--reason", "looked at it").output
    (line,) = ledger.recent()
    assert line.state is judged
    assert line.because.endswith("looked at it")
    assert "disk:A" in run(state, "failures", "list").output


def test_a_part_of_which_nothing_is_known_cannot_be_judged(state: Path) -> None:
    with pytest.raises(StateError, match="neither a failure nor a forecast"):
        run(state, "failures", "refute", "disk:B", "--reason", "sound")


def test_what_failed_needs_a_name_and_a_known_kind(state: Path) -> None:
    with pytest.raises(ConfigurationError, match="name the part"):
        run(state, "failures", "add", "--reason", "x")
    with pytest.raises(ConfigurationError, match="known are"):
        run(state, "failures", "add", "--component", "tape:A", "--reason", "x")


def test_a_release_without_a_controller_is_done_at_once_and_pauses(state: Path, database: Database) -> None:
    with pytest.raises(ConfigurationError, match="say --all"):
        run(state, "release", "--reason", "we stop")
    assert "nothing of Forewarn's was set" in run(state, "release", "--all", "--reason", "we stop").output
    assert [request.kind for request in Requests(database).take()] == [RequestKind.RELEASE]


def test_a_controller_that_runs_is_asked_to_release(state: Path, database: Database, tmp_path: Path) -> None:
    Leadership(database, "elsewhere/1").acquire()
    store = DuckDBStore(tmp_path / "telemetry.duckdb")
    with desk(state, None, {}) as opened:
        (said,) = opened.release(ObservedDriver(store.devices, RealClock()), "we stop")
    store.close()
    assert said.startswith("the controller was asked")
    assert [request.kind for request in Requests(database).take()] == [RequestKind.RELEASE]


def test_failures_are_imported_whole_and_exported_again(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "tickets.jsonl"
    row = {"time": NOW.isoformat(), "host": "host03", "kind": "disk", "component": "disk:A", "text": "dead"}
    rows = [row, {**row, "component": "disk:B", "source": "tickets", "state": "refuted"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert "Imported: 2 failures." in run(state, "failures", "import", str(file), "--reason", "tickets of 2025").output
    again = run(state, "failures", "import", str(file), "--reason", "again")
    assert "Imported: 0 failures; 2 were written down already." in again.output
    listed = json.loads(run(state, "failures", "list", "--json").output)["failures"]
    assert [(each["component"], each["state"]) for each in listed] == [("disk:A", "confirmed"), ("disk:B", "refuted")]
    exported = tmp_path / "exported.jsonl"
    exported.write_text(run(state, "failures", "export").output)
    assert "Imported: 0 failures; 2" in run(state, "failures", "import", str(exported), "--reason", "again").output


def test_of_a_file_with_a_bad_line_nothing_is_imported_and_the_lines_are_named(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "tickets.jsonl"
    good = {"time": NOW.isoformat(), "host": "host03", "kind": "disk", "component": "disk:A", "text": "dead"}
    file.write_text("\n".join([json.dumps(good), *[json.dumps({**good, "kind": "rain"})] * 12]))
    with desk(state, None, {}) as kept:
        with pytest.raises(RecordingError, match=r"nothing is imported: line 2: .* and 2 lines more") as refused:
            kept.import_failures(file, "tickets")
        assert "line 11" in str(refused.value)
        assert kept.list_failures()[0] == ()
        with pytest.raises(StateError, match="--reason"):
            kept.import_failures(file, " ")
        file.write_text("\n")
        with pytest.raises(RecordingError, match="holds no failures"):
            kept.import_failures(file, "tickets")
        with pytest.raises(RecordingError, match="cannot be read"):
            kept.import_failures(tmp_path / "absent", "tickets")
