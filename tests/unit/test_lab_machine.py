"""Where a laboratory may be raised, and what is said where it may not."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.errors import LaboratoryError
from forewarn.lab.commands import run, search_path
from forewarn.lab.machine import Machine, check, look, refusal
from forewarn.lab.settings import LabSettings

FIT = Machine("Linux", ("debian",), "x86_64", 0)
SETTINGS = LabSettings()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"system": "Darwin"}, "raised on Debian"),
        ({"distributions": ("fedora",)}, "raised on Debian"),
        ({"architecture": "aarch64"}, "this machine is aarch64"),
        ({"user": 1000}, "needs root"),
        ({"missing": ("debootstrap",)}, "install the package debootstrap"),
        ({"missing": ("nsenter",)}, "install the package util-linux"),
        ({"guests": ("qemu-kvm, process 7",)}, r"guests of somebody else \(qemu-kvm, process 7\)"),
    ],
)
def test_a_machine_that_is_none_for_it_is_refused_in_one_sentence(changed: dict[str, object], why: str) -> None:
    machine = replace(FIT, **changed)  # type: ignore[arg-type]
    with pytest.raises(LaboratoryError, match=why) as caught:
        check(machine, SETTINGS)
    assert "\n" not in str(caught.value)


def test_debian_and_what_is_made_from_it_are_taken() -> None:
    assert refusal(FIT, SETTINGS) == ""
    assert refusal(replace(FIT, distributions=("ubuntu", "debian")), SETTINGS) == ""


def test_whoever_wants_it_beside_guests_gets_it() -> None:
    beside = replace(FIT, guests=("qemu-system-x86_64, process 7",))
    assert refusal(beside, LabSettings(beside_guests=True)) == ""


def test_a_root_without_sbin_on_its_path_lacks_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = Path(shutil.which("chroot", path=search_path()) or "")
    assert program.parent.name == "sbin"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look(needed=("chroot",)).missing == ()
    assert "chroot" in run(["chroot", "--version"])


def copied(root: Path, release: str) -> Path:
    """A machine's files with an os-release and no processes."""
    (root / "etc").mkdir()
    (root / "proc").mkdir()
    (root / "etc/os-release").write_text(release)
    return root


def test_the_name_of_a_distribution_is_read_with_and_without_quotes(tmp_path: Path) -> None:
    machine = look(copied(tmp_path, 'NAME="A B"\nID=pureos\nID_LIKE="debian other"\n'), needed=("sh", "no-such-thing"))
    assert machine.distributions == ("pureos", "debian", "other")
    assert machine.missing == ("no-such-thing",)
    (tmp_path / "etc/os-release").unlink()
    assert look(tmp_path).distributions == ()


def test_a_guest_that_runs_is_seen_and_one_of_a_laboratory_is_not(tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-test"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"]) as guest:
        try:
            root = copied(tmp_path, "ID=debian\n")
            (root / "proc" / str(guest.pid)).mkdir()
            for name in ("exe", "root"):
                real = Path("/proc") / str(guest.pid) / name
                (root / "proc" / str(guest.pid) / name).symlink_to(real.readlink() if name == "exe" else tmp_path)
            (root / "proc" / "1").mkdir()  # one whose program cannot be read
            assert look(root).guests == (f"qemu-system-test, process {guest.pid}",)
            (tmp_path / "etc/forewarn-lab").touch()
            assert look(root).guests == ()
        finally:
            guest.kill()
    assert look().user == os.geteuid()
