"""What tests of laboratories ask the machine itself, apart from the laboratory's own words."""

from pathlib import Path

from forewarn.lab.settings import LabSettings


def traces(settings: LabSettings, name: str) -> list[str]:
    """Whatever this machine still has of a laboratory: its files, mounts, control groups and processes."""
    folder = settings.folder / name
    found = [str(folder)] if folder.exists() else []
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{folder}/" in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/forewarn-lab-{name}-*")]
    for process in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        found += [f"process {process.name}" for said in _said(process) if f"{folder}/" in said]
    return found


def _said(process: Path) -> list[str]:
    """What a process was called with, and where its root is."""
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        called = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        return [] if state == "Z" else [called, f"{(process / 'root').readlink()}/"]
    except OSError:
        return []
