"""What is installed: the locks, the wheel, and an agent that stays light."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from shutil import which

import pytest

from tests.house.repository import ROOT, under

LOCKS = ("requirements/demo.txt", "requirements/dev.txt", "requirements/libvirt.txt")
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?: ; (?P<where>.*?))? \\$")


def _pins(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text().splitlines()
    found = (PIN.match(line) for line in lines if line and not line.startswith((" ", "#")))
    return {pin["name"]: pin["version"] for pin in found if pin}


def _blocks(lock: str) -> list[str]:
    return re.split(r"\n(?=[a-z])", (ROOT / lock).read_text().split("\n", 2)[2])


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_exact_version_and_its_hashes(lock: str) -> None:
    blocks = _blocks(lock)
    assert len(_pins(lock)) == len(blocks)
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_packages_come_from(lock: str) -> None:
    assert re.findall(r"\S*://\S*|--(?:index|extra-index|find-links)\S*|@ file", (ROOT / lock).read_text()) == []


def test_the_demo_runs_on_what_developers_test_with() -> None:
    assert _pins("requirements/demo.txt").items() <= _pins("requirements/dev.txt").items()


def test_the_binding_to_libvirt_adds_itself_alone() -> None:
    added = _pins("requirements/libvirt.txt").items() - _pins("requirements/dev.txt").items()
    assert [name for name, _ in added] == ["libvirt-python"]


@pytest.mark.parametrize(("headers", "built"), [("", True), ("/nowhere", False)])
def test_set_up_builds_the_binding_where_headers_are_and_else_says_so(headers: str, built: bool) -> None:
    asked = ["pkg-config", "--exists", "libvirt"]
    if headers == "" and (which("pkg-config") is None or subprocess.run(asked, capture_output=True).returncode):
        pytest.skip("pkg-config finds no libvirt: install libvirt-dev")
    place = {"PKG_CONFIG_LIBDIR": headers} if headers else {}
    command = ["make", "--dry-run", "--always-make", "setup"]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, **place}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert ("-r requirements/libvirt.txt" in run.stdout) is built
    assert ("Without the libvirt driver: pkg-config finds no libvirt" in run.stdout) is not built


def test_no_lock_drags_in_libraries_for_gpus() -> None:
    assert [name for name in _pins("requirements/dev.txt") if name == "xgboost" or name.startswith("nvidia")] == []


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {path.relative_to("src").as_posix() for path in under("src")} - packed == set()


def _heavy() -> set[str]:
    """The modules that only the controller may need: what the extra `server` installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=\[ ]", line)[0] for line in project["optional-dependencies"]["server"]}
    return {name.removesuffix("-cpu") for name in names} | {"scipy", "pandas"}


def _loads(*modules: str) -> set[str]:
    """What a fresh interpreter has loaded once it has imported these."""
    program = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def _modules(folder: str) -> list[str]:
    paths = (path.relative_to("src").with_suffix("") for path in under(folder, ".py"))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


@pytest.mark.parametrize("part", ["src/forewarn/collect", "src/forewarn/cli"])
def test_what_starts_on_every_host_loads_nothing_of_the_controller(part: str) -> None:
    assert _loads("forewarn", *_modules(part)) & _heavy() == set()
