"""`forewarn lab` as a program: what it raises it shows, and takes down again."""

import json
import os
import subprocess
import sys
from typing import Any

from forewarn.lab.settings import LabSettings
from tests.laboratories import traces

ENVIRONMENT = {**os.environ, "FOREWARN_LAB__BESIDE_GUESTS": "true"}


def lab(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "forewarn", "lab", *words], capture_output=True, env=ENVIRONMENT, text=True, timeout=300
    )


def told(*words: str) -> Any:
    done = lab(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_laboratory_is_raised_shown_and_taken_down_by_commands(settings: LabSettings) -> None:
    name = f"cmd-{os.getpid()}"
    try:
        (raised,) = told("up", "--name", name, "--hosts", "2")["laboratories"]
        assert [(host["name"], host["on"], host["guests"]) for host in raised["hosts"]] == [
            ("host01", True, []),
            ("host02", True, []),
        ]
        assert raised["hosts"][1]["peer_uri"] == "qemu+tcp://host02/system"
        assert raised in told("status")["laboratories"]
        twice = lab("up", "--name", name)
        assert (twice.returncode, "stands already" in twice.stderr) == (1, True)
    finally:
        assert told("down", "--name", name) == {"down": [name]}
    assert traces(settings, name) == []
    gone = lab("down", "--name", name)
    assert (gone.returncode, gone.stderr) == (1, f"forewarn: no laboratory {name} stands on this machine\n")
    assert "no name of a laboratory" in lab("up", "--name", "No Name").stderr
    assert "has 1 to 9 hosts, not 12" in lab("up", "--name", name, "--hosts", "12").stderr


def test_a_laboratory_stands_where_control_groups_are_of_version_2_alone(settings: LabSettings) -> None:
    name, group = f"v2-{os.getpid()}", "/sys/fs/cgroup/forewarn-lab-$1-host01"
    forewarn = f"{sys.executable} -m forewarn lab"
    script = f"""
umount --recursive /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 9
{forewarn} up --name "$1" --hosts 1 >/dev/null || exit 8
grep -q . {group}/init/cgroup.procs && ! grep -q . {group}/cgroup.procs; held=$?
{forewarn} down --name "$1" >/dev/null || exit 7
test ! -e {group} || exit 6
exit $held
"""
    command = ["unshare", "--mount", "sh", "-c", script, "lab", name]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, text=True, timeout=300)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert traces(settings, name) == []
