"""The sample units: systemd takes them, they give away little, and they start what the command line knows."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from forewarn import cli
from tests.house.repository import ROOT

UNITS = ROOT / "packaging" / "systemd"
SERVICES = ("forewarn-agent.service", "forewarn.service")
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE_MAX = 30  # tenths, as `systemd-analyze security --threshold` takes them; a unit without settings has 96
CAPABILITY = re.compile(r"CAP_[A-Z_]+")
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "ProtectKernelModules": "yes",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures": "native",
}


def service(name: str) -> dict[str, str]:
    """The settings of a unit's service; of one that stands several times, its values joined."""
    section = (UNITS / name).read_text().partition("[Service]\n")[2].partition("\n[")[0]
    held: dict[str, str] = {}
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            held[key] = f"{held[key]} {value}" if key in held else value
    return held


def command(name: str) -> list[str]:
    return shlex.split(service(name)["ExecStart"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_is_hardened_and_bounded(name: str) -> None:
    held = service(name)
    assert {key: held.get(key) for key in HARDENED} == HARDENED
    assert held["SystemCallFilter"].split()[0] == "@system-service"
    assert {"MemoryMax", "TasksMax", "StateDirectory"} <= held.keys()
    assert "WatchdogSec" not in held  # nothing here tells systemd that it is alive


def test_the_agent_has_the_capabilities_that_the_doctor_asks_for_and_the_server_none() -> None:
    agent, server = map(service, SERVICES)
    capabilities = {"CAP_SYS_RAWIO", "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYSLOG"}
    assert set(agent["CapabilityBoundingSet"].split()) == set(agent["AmbientCapabilities"].split()) == capabilities
    assert server["CapabilityBoundingSet"] == server["AmbientCapabilities"] == ""
    assert (agent["CPUQuota"], agent["DynamicUser"], server["User"]) == ("20%", "yes", "forewarn")


def test_each_capability_of_the_agent_says_in_the_unit_what_for_and_is_asked_for_by_a_collector() -> None:
    agent = SERVICES[0]
    explained = set(re.findall(r"^# (CAP_\w+) {2,}\S", (UNITS / agent).read_text(), re.MULTILINE))
    granted = set(service(agent)["AmbientCapabilities"].split())
    collectors = (ROOT / "src" / "forewarn" / "collect").rglob("*.py")  # but for the table of all that the doctor knows
    asked = {
        name for file in collectors if file.name != "examination.py" for name in CAPABILITY.findall(file.read_text())
    }
    assert explained == granted <= asked


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_starts_a_command_with_options_that_it_has(name: str) -> None:
    found: Any = typer.main.get_command(cli.app)
    options: set[str] = set()
    _, *words = command(name)
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, f"{found.name} has no option {word}"
        elif word in getattr(found, "commands", {}):
            found = found.commands[word]
            options = {flag for parameter in found.params for flag in parameter.opts}
    assert options
    helped = subprocess.run([sys.executable, "-m", "forewarn", *words, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0, helped.stderr


def startable(name: str, folder: Path) -> Path:
    """A copy that starts a program which is here, as a user who is here."""
    text = (UNITS / name).read_text()
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE)
    path = folder / name
    path.write_text(re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE))
    return path


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze")
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_takes_the_unit_and_finds_little_exposed(name: str, tmp_path: Path) -> None:
    unit = startable(name, tmp_path)
    verified = subprocess.run([str(ANALYZE), "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    judge = [str(ANALYZE), "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(unit)]
    judged = subprocess.run(judge, capture_output=True, text=True)
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd-analyze judges no files")
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers")
def test_the_user_is_one_that_systemd_makes(tmp_path: Path) -> None:
    making = ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(UNITS / "forewarn.sysusers.conf")]
    made = subprocess.run(making, capture_output=True, text=True)
    if "unrecognized option" in made.stderr:
        pytest.skip("this systemd-sysusers cannot only try")
    assert made.returncode == 0, made.stderr
    assert "forewarn" in made.stdout + made.stderr
