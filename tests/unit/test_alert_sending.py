"""What is sent, how much of it, and that nobody waits for it."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from forewarn.alerts.alert import Alert, AlertSeverity
from forewarn.alerts.alerter import Alerter, Receivers
from forewarn.alerts.alertmanager import Alertmanager, Wording
from forewarn.alerts.hold import Held
from forewarn.alerts.memory import AlertMemory
from forewarn.alerts.notify import AppriseReceiver, Notifier
from forewarn.alerts.settings import AlertmanagerSettings, AlertSettings, NotifySettings
from forewarn.alerts.silences import fetch, patterns, silences_of
from forewarn.alerts.tally import Tally
from forewarn.clock import SimulatedClock
from forewarn.errors import ConfigurationError, ReceiverUnavailable
from forewarn.state.database import Database
from forewarn.web.exposition import exposition
from tests.clusters import NOW
from tests.sinks import Webhooks, served
from tests.support import eventually
from tests.watched import CPU, DISK, snapshot

HOUR = timedelta(hours=1)


class Letterbox:
    """Takes messages, unless it is shut."""

    name = "box 1"

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.bodies: list[str] = []
        self.good: list[bool] = []
        self.shut = False

    def send(self, title: str, body: str, good: bool) -> None:
        if self.shut:
            raise ReceiverUnavailable("shut")
        self.titles.append(title)
        self.bodies.append(body)
        self.good.append(good)


def held(host: str, severity: AlertSeverity = AlertSeverity.WARNING, told: bool = False) -> Held:
    alert = Alert(f"A/{host}", "A", severity, host, "", "", f"{host} is ill")
    return Held(alert, NOW, on=True, told_at=NOW if told else None)


def notifier(box: Letterbox, tally: Tally | None = None, **settings: Any) -> Notifier:
    return Notifier([box], NotifySettings(**settings), "http://forewarn", tally or Tally())


def test_more_than_the_limit_comes_in_one_summary_and_then_waits_for_its_hour() -> None:
    box, tally = Letterbox(), Tally()
    people = notifier(box, tally, per_hour_max=2, hosts_named_max=2)
    ill = [held(f"h{number}") for number in range(5)]
    assert len(people.tell(ill, [], NOW)) == 5
    assert box.titles == ["Forewarn: 1 alert for h0", "Forewarn: alerts for 4 hosts"]
    assert "and 2 hosts more" in box.bodies[1]
    assert tally.counts()['forewarn_alerts_dropped_total{receiver="people"}'] == 4
    assert people.tell([*ill, held("h9")], [], NOW + HOUR / 2) == ()
    assert people.tell([*ill, held("h9")], [], NOW + HOUR) == ("A/h9",)
    assert len(box.titles) == 3


def test_an_all_clear_waits_for_its_turn_and_is_not_lost() -> None:
    box = Letterbox()
    people = notifier(box, per_hour_max=1)
    people.tell([held("h1")], [], NOW)
    people.tell([], [held("h1")], NOW)
    assert len(box.titles) == 1
    people.tell([], [], NOW + HOUR)
    assert box.titles[1:] == ["Forewarn: all alerts for h1 are over"]
    people.tell([], [], NOW + 3 * HOUR)
    assert len(box.titles) == 2


def test_people_are_not_told_of_what_is_less_severe_than_they_asked_for() -> None:
    box = Letterbox()
    people = notifier(box, minimum_severity=AlertSeverity.CRITICAL)
    assert people.tell([held("h1")], [], NOW) == ()
    assert people.tell([held("h1", AlertSeverity.CRITICAL)], [], NOW) == ("A/h1",)
    people.tell([held("h1")], [], NOW)
    assert len(box.titles) == 1


def test_nobody_is_told_twice_though_the_memory_lags_behind() -> None:
    box = Letterbox()
    people = notifier(box)
    people.tell([held("h1")], [], NOW)
    people.tell([held("h1")], [], NOW)
    people.tell([held("h2", told=True)], [], NOW)
    assert box.titles == ["Forewarn: 1 alert for h1"]


def test_a_receiver_that_fails_is_logged_once_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    box, tally = Letterbox(), Tally()
    people = notifier(box, tally)
    box.shut = True
    for _ in range(3):
        people.tell([held("h1")], [], NOW)
    box.shut = False
    people.tell([held("h1")], [], NOW)
    assert [record.getMessage() for record in caplog.records] == [
        "box 1 takes no alerts: shut",
        "box 1 takes alerts again",
    ]
    assert tally.counts()['forewarn_alerts_failed_total{receiver="box 1"}'] == 3


def test_an_address_that_apprise_does_not_know_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError, match="number 2") as refused:
        AppriseReceiver("slakc://hunter2", 2)
    assert "hunter2" not in str(refused.value)


class Gate(Letterbox):
    """A receiver that stands until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.open = threading.Event(), threading.Event()

    def send(self, title: str, body: str, good: bool) -> None:
        self.entered.set()
        self.open.wait(30)
        super().send(title, body, good)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[AlertMemory]:
    database = Database(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield AlertMemory(database)
    database.close()


def test_the_loop_never_waits_for_a_receiver_and_the_newest_job_wins(memory: AlertMemory) -> None:
    gate, tally, clock = Gate(), Tally(), SimulatedClock(NOW)
    settings = AlertSettings(risk_for_s=0.0, keep_s=0.0, close_s=30.0)
    wording = Wording(AlertmanagerSettings(), 60.0, "", "")
    people = Notifier([gate], NotifySettings(), "", tally)
    alerter = Alerter(memory, Receivers((), wording, people), settings, clock, tally)
    alerter.tell(snapshot({DISK.id: 0.02}))
    assert gate.entered.wait(30)
    for minute in range(1, 5):
        alerter.tell(snapshot({DISK.id: 0.02, CPU.id: 0.03}, NOW + timedelta(minutes=minute)))
    alerter.tell(snapshot({}, NOW + timedelta(minutes=6)))
    gate.open.set()
    alerter.close()
    assert gate.titles == ["Forewarn: 1 alert for h1", "Forewarn: all alerts for h1 are over"]
    assert gate.good == [False, True]
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "alerts"])


def test_an_alert_lives_for_four_intervals_of_whatever_is_slower() -> None:
    wording = Wording(AlertmanagerSettings(resend_s=60.0), 600.0, "http://f/", "http://runbook")
    written = wording.on(held("h 1"), NOW)
    assert written["endsAt"] == (NOW + timedelta(seconds=2400)).isoformat()
    assert written["generatorURL"] == "http://f/hosts/h%201"
    assert written["annotations"]["runbook_url"] == "http://runbook"
    assert wording.ended(held("h1"), NOW - HOUR)["startsAt"] == (NOW - HOUR).isoformat()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"urls": ("alerts:9093",)}, "begins with http"),
        ({"silences_as": "holiday"}, "known are maintenance, freeze"),
        ({"resend_s": 0.0}, "must be above 0"),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(AlertmanagerSettings(), **changes)


def test_a_secret_file_that_is_missing_and_an_answer_in_other_words_are_told(tmp_path: Path) -> None:
    with served(Webhooks()) as web:
        url = f"http://127.0.0.1:{web.port}"
        absent = AlertmanagerSettings(bearer_token_file=tmp_path / "absent")
        with pytest.raises(ReceiverUnavailable, match="cannot read the secret"):
            Alertmanager(url, absent).post([{}])
        web.status = 503
        with pytest.raises(ReceiverUnavailable, match="it answers 503"):
            Alertmanager(url, AlertmanagerSettings()).silences()
        web.status = 200
        for shown, message in (("<html>", "not JSON"), ("{}", "not a list"), ("[" + " " * 99 + "]", "longer than 50")):
            web.shown = shown
            with pytest.raises(ReceiverUnavailable, match=message):
                fetch(AlertmanagerSettings(urls=(url,), answer_bytes_max=50), "")
    with pytest.raises(ReceiverUnavailable, match="no address of Alertmanager"):
        fetch(AlertmanagerSettings(), "")


def test_the_token_or_the_password_is_sent(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    with served(Webhooks()) as web:
        url = f"http://127.0.0.1:{web.port}"
        Alertmanager(url, AlertmanagerSettings(bearer_token_file=tmp_path / "secret")).post([{}])
        Alertmanager(url, AlertmanagerSettings(username="ann", password_file=tmp_path / "secret")).post([{}])
        assert web.authorizations == ["Bearer hunter2", "Basic YW5uOmh1bnRlcjI="]


@pytest.mark.parametrize("expression", ["h(1|2)3", "h+", "h{2}", "a||b", "[^a]", "(?i)h1", ""])
def test_an_expression_that_no_pattern_says_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="no pattern of hosts"):
        patterns(expression)


def test_an_expression_becomes_patterns_that_match_the_same() -> None:
    assert patterns(r"^rack\d-.+$|(?:a.c|x\.y)|h[12]") == ("rack[0-9]-?*", "a?c", "x.y", "h[12]")


def test_a_silence_that_cannot_be_read_leaves_the_others() -> None:
    good: dict[str, Any] = {
        "id": "1",
        "status": {"state": "pending"},
        "matchers": [
            {"name": "host", "value": "h*1", "isRegex": False},
            {"name": "cluster", "value": "lab", "isRegex": False},
        ],
        "startsAt": "2026-01-05T12:00:00.000Z",
        "endsAt": "2026-01-05T13:00:00.000Z",
    }
    few = AlertmanagerSettings(silences_max=1)
    found, left_out = silences_of([{"id": "2"}, good, good], few, "lab")
    assert [silence.hosts for silence in found] == [("h[*]1",)]
    assert len(left_out) == 2
    assert silences_of([good], AlertmanagerSettings(silences_as=""), "lab") == ((), ())


def test_what_is_counted_stands_among_the_metrics() -> None:
    tally = Tally()
    tally.sent("json 1", 3)
    text = exposition(None, NOW, "1", {}, tally.counts())
    assert "# TYPE forewarn_alerts_sent_total counter\n" in text
    assert 'forewarn_alerts_sent_total{receiver="json 1"} 3\n' in text
