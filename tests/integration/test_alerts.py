"""Alerts as others see them: the distribution's Alertmanager, a webhook and a mail server, all on loopback."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from forewarn import cli
from forewarn.alerts import rules, silences
from forewarn.alerts.alerter import Alerter
from forewarn.alerts.alertmanager import Alertmanager
from forewarn.alerts.settings import AlertmanagerSettings, AlertSettings, NotifySettings
from forewarn.assemble.alerts import prepare
from forewarn.assemble.silences import SilenceReader
from forewarn.clock import RealClock, SimulatedClock
from forewarn.errors import ReceiverUnavailable
from forewarn.state.database import Database
from forewarn.state.windows import Windows
from forewarn.web.settings import WebSettings
from tests.sinks import Mails, Webhooks, served
from tests.support import eventually
from tests.watched import CPU, DISK, snapshot

CONFIGURATION = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Alertmanager of its own, without clustering."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("no Alertmanager found; install the package prometheus-alertmanager")
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "alertmanager.yml").write_text(CONFIGURATION)
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            eventually(lambda: answers(f"http://{address}/-/ready"), deadline=30)
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url).status_code == 200
    return False


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield opened
    opened.close()


class Site:
    """An alerter on a clock that a test moves, beginning at the real time: Alertmanager has no other."""

    def __init__(self, settings: AlertSettings, database: Database) -> None:
        self.clock = SimulatedClock(RealClock().now())
        build = prepare(settings, 60.0, WebSettings(), self.clock)
        assert build is not None
        self.alerter: Alerter = build(database)

    def cycle(self, risks: dict[str, float | None], after_s: float = 0.0) -> None:
        self.clock.sleep(after_s)
        self.alerter.tell(snapshot(risks, self.clock.now()))
        self.alerter.close()


def settings_of(cluster: str, *urls: str, people: tuple[str, ...] = (), **changes: Any) -> AlertSettings:
    alertmanager = AlertmanagerSettings(urls=urls)
    notify = NotifySettings(urls=people)
    return replace(AlertSettings(alertmanager, notify, cluster, risk_for_s=0.0, keep_s=0.0, close_s=30.0), **changes)


def active(alertmanager: str, cluster: str) -> list[dict[str, Any]]:
    found = httpx.get(f"{alertmanager}/api/v2/alerts", params={"filter": f'cluster="{cluster}"'})
    return list(found.json())


def ends(alert: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(alert["endsAt"])


def test_an_alert_arrives_is_sent_again_and_ends(alertmanager: str, database: Database) -> None:
    site = Site(settings_of("arrives", alertmanager), database)
    site.cycle({DISK.id: 0.02})
    (first,) = eventually(lambda: active(alertmanager, "arrives"))
    assert first["labels"]["alertname"] == rules.RISK
    assert first["labels"]["host"] == "h1"
    assert "fails within 7 d with p=0.02" in first["annotations"]["summary"]
    assert first["generatorURL"] == "http://127.0.0.1:8460/hosts/h1"
    site.cycle({DISK.id: 0.02}, 10.0)
    assert ends(active(alertmanager, "arrives")[0]) == ends(first)
    site.cycle({DISK.id: 0.02}, 50.0)
    (again,) = active(alertmanager, "arrives")
    assert ends(again) - ends(first) == timedelta(seconds=60)
    restarted = Site(settings_of("arrives", alertmanager), database)
    restarted.cycle({})
    assert eventually(lambda: not active(alertmanager, "arrives"))
    assert restarted.alerter.metrics() == {'forewarn_alerts_sent_total{receiver="alertmanager 1"}': 1.0}


def test_one_that_became_worse_is_there_once_with_its_new_severity(alertmanager: str, database: Database) -> None:
    site = Site(settings_of("worse", alertmanager), database)
    site.cycle({DISK.id: 0.02})
    site.cycle({DISK.id: 0.5})
    alerts = eventually(lambda: active(alertmanager, "worse"))
    assert [alert["labels"]["severity"] for alert in alerts] == ["critical"]


def test_what_nobody_renews_ends_by_itself(alertmanager: str, database: Database) -> None:
    brief = AlertmanagerSettings(urls=(alertmanager,), resend_s=0.25)
    settings = replace(settings_of("alone", alertmanager), alertmanager=brief)
    clock = SimulatedClock(RealClock().now())
    build = prepare(settings, 0.25, WebSettings(), clock)
    assert build is not None
    alerter = build(database)
    alerter.tell(snapshot({DISK.id: 0.02}, clock.now()))
    alerter.close()
    assert alerter.metrics()['forewarn_alerts_sent_total{receiver="alertmanager 1"}'] == 1.0
    assert eventually(lambda: not active(alertmanager, "alone"))


def test_many_alerts_go_in_several_calls(alertmanager: str, database: Database) -> None:
    small = AlertmanagerSettings(urls=(alertmanager,), body_bytes_max=100)
    site = Site(replace(settings_of("many", alertmanager), alertmanager=small), database)
    site.cycle({DISK.id: 0.02, CPU.id: 0.5})
    assert len(eventually(lambda: active(alertmanager, "many"))) == 2


def test_one_of_a_pair_that_is_away_keeps_nothing_from_the_other(alertmanager: str, database: Database) -> None:
    site = Site(settings_of("pair", f"http://bob:hunter2@127.0.0.1:{free_port()}", alertmanager), database)
    site.cycle({DISK.id: 0.02})
    assert eventually(lambda: active(alertmanager, "pair"))
    counted = site.alerter.metrics()
    assert counted['forewarn_alerts_failed_total{receiver="alertmanager 1"}'] == 1.0
    assert counted['forewarn_alerts_sent_total{receiver="alertmanager 2"}'] == 1.0


def silence(alertmanager: str, comment: str, *matchers: tuple[str, str, bool]) -> str:
    now = RealClock().now()
    body = {
        "matchers": [{"name": n, "value": v, "isRegex": regex, "isEqual": True} for n, v, regex in matchers],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "ann",
        "comment": comment,
    }
    answer = httpx.post(f"{alertmanager}/api/v2/silences", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["silenceID"])


def test_silences_of_hosts_are_read_as_windows(alertmanager: str) -> None:
    plain = silence(alertmanager, "new fans", ("host", "h1", False))
    frozen = silence(alertmanager, "sale", ("host", "rack1-.*|db[0-3]", True), ("forewarn", "freeze", False))
    silence(alertmanager, "noise", ("host", "h1", False), ("alertname", rules.RISK, False))
    silence(alertmanager, "elsewhere", ("host", "h1", False), ("cluster", "other", False))
    ended = silence(alertmanager, "over", ("host", "h9", False))
    assert httpx.delete(f"{alertmanager}/api/v2/silence/{ended}").status_code == 200
    silence(alertmanager, "odd", ("host", "h(1|2){3}", True))
    found, left_out = silences.fetch(AlertmanagerSettings(urls=(alertmanager,)), "lab")
    by_key = {each.key: each for each in found}
    assert set(by_key) == {plain, frozen}
    assert (by_key[plain].kind, by_key[plain].hosts, by_key[plain].who) == ("maintenance", ("h1",), "ann")
    assert (by_key[frozen].kind, by_key[frozen].hosts) == ("freeze", ("rack1-*", "db[0-3]"))
    assert by_key[frozen].ends_at - by_key[frozen].starts_at > timedelta(minutes=59)
    assert [text for text in left_out if "h(1|2){3}" in text]


def test_hosts_that_are_silenced_there_are_left_alone_here_until_the_silence_ends(alertmanager: str) -> None:
    key = silence(alertmanager, "new fans", ("host", "h1|rack2-.*", True))
    database = Database("sqlite://")
    windows = Windows(database)
    reader = SilenceReader(AlertSettings(alertmanager=AlertmanagerSettings(urls=(alertmanager,))), windows)
    reader.read()
    reader.read()
    now = database.clock.now()
    held = [window for window in windows.load(now) if window.key == key]
    assert [(str(window.kind), window.hosts, window.who) for window in held] == [
        ("maintenance", "h1", "ann"),
        ("maintenance", "rack2-*", "ann"),
    ]
    assert any(window.covers("rack2-07", now) for window in held)
    assert httpx.delete(f"{alertmanager}/api/v2/silence/{key}").status_code == 200
    reader.read()
    assert [window for window in windows.load(database.clock.now()) if window.key == key] == []
    database.close()


def test_what_alertmanager_refuses_is_told_with_its_words(alertmanager: str) -> None:
    with pytest.raises(ReceiverUnavailable, match="it answers 4"):
        Alertmanager(alertmanager, AlertmanagerSettings()).post([{"labels": {}}])


def people_of(web: Webhooks, mail: Mails) -> tuple[str, ...]:
    return (
        f"json://127.0.0.1:{web.port}",
        f"mailto://127.0.0.1:{mail.port}?from=forewarn@example.org&to=ann@example.org&mode=insecure",
    )


def test_people_get_one_message_per_host_and_one_when_all_is_over(database: Database) -> None:
    with served(Webhooks()) as web, served(Mails()) as mail:
        site = Site(settings_of("people", people=people_of(web, mail)), database)
        site.cycle({DISK.id: 0.02, CPU.id: 0.5})
        site.cycle({DISK.id: 0.02, CPU.id: 0.5}, 60.0)
        site.cycle({DISK.id: 0.02}, 60.0)
        assert [json.loads(body)["title"] for body in web.bodies] == ["Forewarn: 2 alerts for h1"]
        restarted = Site(settings_of("people", people=people_of(web, mail)), database)
        restarted.cycle({DISK.id: 0.02})
        restarted.cycle({}, 60.0)
        titles = [json.loads(body)["title"] for body in web.bodies]
        assert titles == ["Forewarn: 2 alerts for h1", "Forewarn: all alerts for h1 are over"]
        assert len(mail.mails) == 2
        assert "Subject: Forewarn: 2 alerts for h1" in mail.mails[0]


def test_a_message_that_nobody_took_is_sent_again_with_the_next_cycle(database: Database) -> None:
    with served(Webhooks()) as web:
        web.status = 500
        site = Site(settings_of("again", people=(f"json://127.0.0.1:{web.port}/T0KEN",)), database)
        site.cycle({DISK.id: 0.02})
        web.status = 200
        site.cycle({DISK.id: 0.02}, 60.0)
        site.cycle({DISK.id: 0.02}, 60.0)
        assert len(web.bodies) == 2
        counted = site.alerter.metrics()
    assert counted['forewarn_alerts_failed_total{receiver="json 1"}'] == 1.0
    assert counted['forewarn_alerts_sent_total{receiver="json 1"}'] == 1.0


def test_the_test_command_says_what_each_receiver_did_and_no_secret(
    tmp_path: Path, alertmanager: str, caplog: pytest.LogCaptureFixture
) -> None:
    with served(Webhooks()) as web, served(Mails()) as mail:
        urls = (*people_of(web, mail), f"json://bob:hunter2@127.0.0.1:{free_port()}/T0KEN")
        path = tmp_path / "forewarn.toml"
        path.write_text(
            f'[alerts.alertmanager]\nurls = ["{alertmanager}"]\n[alerts.notify]\nurls = {json.dumps(list(urls))}\n'
        )
        result = CliRunner().invoke(cli.app, ["alert", "test", "--config", str(path)])
        assert result.exit_code == 1, result.output
        lines = result.output.splitlines()
        assert lines[:3] == ["alertmanager 1: took the test", "json 1: took the test", "mailto 2: took the test"]
        assert lines[3].startswith("json 3: ")
        assert [word for word in ("hunter2", "T0KEN") if word in result.output + caplog.text] == []
        as_json = CliRunner().invoke(cli.app, ["alert", "test", "--json", "--config", str(path)])
        assert [each["taken"] for each in json.loads(as_json.output)] == [True, True, True, False]
