"""The command line prints what was asked for, or one clear sentence."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forewarn import cli
from forewarn.assemble import agent, decisions
from forewarn.cli import demo
from forewarn.clock import RealClock
from forewarn.decide.decision import Decision
from forewarn.decide.policy import PolicySettings
from forewarn.domain.inventory import Cluster, Component, Criticality, Host, Kind, VirtualMachine
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import Situation
from forewarn.errors import ConfigurationError, RecordingError
from tests.support import eventually

NOW = datetime(2026, 1, 5, tzinfo=UTC)
RUN = CliRunner()


def decision(tmp_path: Path, probability: float) -> Path:
    hosts = tuple(Host(name, cpus=16, memory_bytes=2**36, link_bytes_per_s=1e9) for name in ("a", "b"))
    vm = VirtualMachine("v1", "web", "a", 2, 2**32, Criticality.HIGH)
    parts = tuple(Component(f"cpu:{name}/cpu", Kind.CPU, name, "cpu", whole_host=True) for name in ("a", "b"))
    forecasts = (
        FailureForecast("cpu:a/cpu", Kind.CPU, "a", "cpu", NOW, (probability,) * 6),
        FailureForecast("cpu:b/cpu", Kind.CPU, "b", "cpu", NOW, (0.0,) * 6),
    )
    situation = Situation(Cluster(NOW, 1, hosts, parts, (vm,)), forecasts)
    path = tmp_path / "decision.json"
    path.write_bytes(Decision(situation, PolicySettings(), NOW).to_json())
    return path


def test_a_plan_with_moves_is_told_with_its_rule_and_ends_with_2(tmp_path: Path) -> None:
    result = RUN.invoke(cli.app, ["plan", "--snapshot", str(decision(tmp_path, 0.5))])
    assert result.exit_code == 2
    assert "would   web: a -> b  [Proactive Failure Avoidance]" in result.output


def test_a_plan_as_json_holds_moves_and_rejected_options(tmp_path: Path) -> None:
    result = RUN.invoke(cli.app, ["plan", "--json", "--snapshot", str(decision(tmp_path, 0.5))])
    plan = json.loads(result.output)
    assert [(move["vm_name"], move["target"]) for move in (each["move"] for each in plan["proposals"])] == [
        ("web", "b")
    ]
    assert "verdicts" in plan


def test_a_plan_without_moves_ends_with_0(tmp_path: Path) -> None:
    assert RUN.invoke(cli.app, ["plan", "--snapshot", str(decision(tmp_path, 0.001))]).exit_code == 0


def test_a_recorded_situation_is_decided_under_another_policy(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[policy]\nthresholds = { cpu = 0.9 }\n[web]\nport = 9\n")
    asked = ["plan", "--snapshot", str(decision(tmp_path, 0.5)), "--policy", str(other)]
    plain = RUN.invoke(cli.app, asked)
    assert (plain.exit_code, plain.output.splitlines()[0].partition(": ")[2]) == (
        0,
        "0 moves, 0 only proposed, 0 options rejected.",
    )
    differing = RUN.invoke(cli.app, [*asked, "--diff"])
    assert differing.exit_code == 0
    first, second, *_ = differing.output.splitlines()
    assert first == "Moves: 1 before, 0 after, 0 of them the same."
    assert second.startswith("differs web: before to b (Proactive Failure Avoidance): VM web (HIGH) goes from a to b")
    assert second.endswith("after it stays: nothing speaks for moving it")
    written = json.loads(RUN.invoke(cli.app, [*asked, "--diff", "--json"]).output)
    assert (written["moves_before"], written["moves_after"], written["vms"][0]["after"]) == (1, 0, None)


def test_what_makes_no_policy_is_refused(tmp_path: Path) -> None:
    asked = ["plan", "--snapshot", str(decision(tmp_path, 0.5))]
    with pytest.raises(ConfigurationError, match="--diff compares two policies: name the other one with --policy FILE"):
        RUN.invoke(cli.app, [*asked, "--diff"], catch_exceptions=False)
    (tmp_path / "wrong.toml").write_text("[policy]\nhorizon_s = -1\n")
    with pytest.raises(ConfigurationError, match=r"wrong\.toml: in \[policy\]: horizon_s is -1"):
        RUN.invoke(cli.app, [*asked, "--policy", str(tmp_path / "wrong.toml")], catch_exceptions=False)


def test_without_a_name_the_plan_is_that_of_the_demonstration_which_wrote_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RecordingError, match="no demonstration is running here: name a decision with --snapshot"):
        RUN.invoke(cli.app, ["plan"], catch_exceptions=False)
    for name, probability in (("old", 0.5), ("new", 0.001)):
        folder = tmp_path / f"{demo.DEMO_FOLDER}{name}"
        folder.mkdir()
        decision(folder, probability)
    minute_ago_s = RealClock().now().timestamp() - 60.0
    os.utime(tmp_path / f"{demo.DEMO_FOLDER}old" / decisions.FILE, (minute_ago_s, minute_ago_s))
    assert RUN.invoke(cli.app, ["plan"]).exit_code == 0
    (tmp_path / f"{demo.DEMO_FOLDER}new" / decisions.FILE).unlink()
    assert RUN.invoke(cli.app, ["plan"]).exit_code == 2
    os.utime(tmp_path / f"{demo.DEMO_FOLDER}old" / decisions.FILE, (1.0, 1.0))  # left by one that was killed
    with pytest.raises(RecordingError, match="no demonstration is running here"):
        RUN.invoke(cli.app, ["plan"], catch_exceptions=False)


def test_a_file_that_is_no_decision_is_named_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    with pytest.raises(RecordingError, match="cannot read"):
        decisions.read(path)
    path.write_text('{"situation": 3}')
    with pytest.raises(RecordingError, match=r"decision\.json is not a decision: situation"):
        decisions.read(path)


def test_an_error_becomes_one_sentence_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "forewarn.toml"
    path.write_text("[policy]\nhorizon = 3")
    monkeypatch.setattr("sys.argv", ["forewarn", "config", "check", str(path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("forewarn: ")
    assert "did you mean 'horizon_s'?" in said


def test_the_sample_configuration_is_right(tmp_path: Path) -> None:
    sample = tmp_path / "sample.toml"
    sample.write_text(RUN.invoke(cli.app, ["config", "init"]).output)
    result = RUN.invoke(cli.app, ["config", "check", str(sample)])
    assert result.output == f"{sample} is right.\n"


def test_the_agent_prints_this_hosts_telemetry_once() -> None:
    result = RUN.invoke(cli.app, ["agent", "--once"])
    assert result.exit_code == 0
    assert "\nnode_cpu_seconds_total{" in result.output
    assert "\nnode_memory_MemTotal_bytes " in result.output


def test_a_recording_that_is_not_json_is_counted_by_name(tmp_path: Path) -> None:
    (tmp_path / "sda.json").write_text("{")
    result = RUN.invoke(cli.app, ["agent", "--once", "--smartctl-json", str(tmp_path)])
    assert result.exit_code == 0
    assert '\nforewarn_smartctl_unreadable_total{device="sda",why="not JSON: ' in result.output


def scraped(port: int) -> str:
    """What the agent at a port of this machine shows; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


@pytest.mark.parametrize("push", ["", "https://127.0.0.1:9/api/v1/write"])
def test_the_agent_that_serves_stays_small(tmp_path: Path, push: str) -> None:
    """The process that runs on every host: 40 MiB on a large server, of which this machine shows less."""
    settings = f'[push]\nurl = "{push}"\nfolder = "{tmp_path}/push"\n' if push else ""
    (tmp_path / "agent.toml").write_text(f"[listen]\nport = 0\n{settings}")
    program = [sys.executable, "-m", "forewarn", "agent", "--config", str(tmp_path / "agent.toml")]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    process = subprocess.Popen([*program, "--listen", f"127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: ('why="no_answer"' if push else "node_") in scraped(port), 60.0)
        (resident,) = re.findall(r"^process_resident_memory_bytes (\d+)$", scraped(port), re.MULTILINE)
        assert 2**20 < int(resident) <= 40 * 2**20
    finally:
        process.terminate()
        told = process.communicate(timeout=30)[1]
    assert process.returncode == 0
    assert f"Metrics: http://127.0.0.1:{port}/metrics\n" in told


def test_what_the_agent_cannot_do_is_one_sentence_and_an_exit_code() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        program = [sys.executable, "-m", "forewarn", "agent", "--listen", place]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"forewarn: the agent cannot listen on {place}: ")


def test_the_agent_can_be_scraped_until_its_clock_stops() -> None:
    clock, found = RealClock(), []
    tree = agent.read(None, {}, address="127.0.0.1:19778")
    thread = threading.Thread(target=agent.serve, args=(tree, clock))
    thread.start()

    def scraped() -> bool:
        try:
            with urllib.request.urlopen("http://127.0.0.1:19778/metrics", timeout=10) as answer:
                found.append(answer.read().decode())
        except OSError:
            return False
        return True

    try:
        eventually(scraped, 10)
    finally:
        clock.stop()
        thread.join()
    assert "node_cpu_seconds_total" in found[0]


@pytest.mark.parametrize("address", ["9778", "host:", ":1", "host:port"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="--listen takes HOST:PORT"):
        agent.read(None, {}, address=address)
