"""A guest with hardware that fails on demand, in which the agent runs: QEMU's NVMe drive, machine checks, scsi_debug.

QEMU comes from the root file system of the laboratory's hosts, kernel, Python and tools are unpacked from Debian's
packages; nothing is installed. What was built is kept under a digest; Forewarn itself is put in anew at each start.
"""

import compileall
import gzip
import hashlib
import importlib.util
import json
import py_compile
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.lab import cache
from forewarn.lab.libvirt import guest, image
from forewarn.lab.settings import LabSettings
from tests import firmware
from tests.house.repository import ROOT
from tests.support import eventually

KERNEL = ("linux-image-amd64", r"linux-image-[0-9]\S*-amd64")
PACKAGES = (
    *("busybox-static", "smartmontools", "sdparm", "rasdaemon"),
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8", "libsqlite3-0", "libbz2-1.0"),
    *("liblzma5", "libuuid1", "libcap-ng0", "libselinux1", "libpcre2-8-0", "libsgutils2-1.46-2", "libsystemd0"),
    *("liblz4-1", "libzstd1", "libgcrypt20", "libgpg-error0", "libcap2", "libcrypt1", "libtraceevent1"),
)
MODULES = ("nvme", "virtio_pci", "sd_mod", "sg", "scsi_debug", "mce-inject")
LOADED_LATER = ("scsi_debug", "mce_inject")
LEFT_OUT = re.compile(r"/(?:test|tests|idlelib|lib2to3|ensurepip|pydoc_data|turtledemo|tkinter|doc|man|locale)/")
KEPT = (
    "bin",
    "lib",
    "lib64",
    "sbin",
    "usr/bin",
    "usr/lib",
    "usr/sbin",
    "usr/share/smartmontools",
    "var/lib/smartmontools",
)
VERSION = 4
BOOT_S, SHELL_S = 120.0, 60.0
COMMAND_LINE = (
    f"console=ttyS0 quiet panic=1 ghes.edac_force_enable=1 ghes_edac.force_load=1 memmap=64K${firmware.PLACE:#x}"
)
SETTINGS = """\
[agent]
interval_s = 5.0
collectors = ["cpu", "memory", "rasdaemon", "disk", "smart", "kernel_log", "changes"]
[agent.smart]
interval_s = 0.0
[push]
url = "http://127.0.0.1:9/api/v1/write"
host = "guest"
folder = "/var/lib/forewarn"
"""
AGENT = """\
from pathlib import Path
from forewarn.assemble import agent
from forewarn.clock import RealClock
agent.serve(agent.read(Path("/etc/agent.toml"), {}), RealClock())
"""
INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
for place in proc:proc sysfs:sys devtmpfs:dev debugfs:sys/kernel/debug tracefs:sys/kernel/tracing; do
    mount -t ${place%%:*} none /${place#*:}
done
ip link set lo up
for module in $(cat /modules/order); do insmod /modules/$module; done
echo UP
while :; do sh </dev/ttyS1 >/dev/ttyS1 2>&1; done
"""


def _digest() -> str:
    told = (VERSION, KERNEL, PACKAGES, MODULES, LEFT_OUT.pattern, KEPT, INIT)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def built(settings: LabSettings) -> Path:
    """The folder with `vmlinuz` and `initrd`, built first where there is none: half a minute, with the network."""
    return cache.built(settings.cache, f"hardware-{_digest()}", lambda draft: _build(settings, draft))


def _build(settings: LabSettings, draft: Path) -> Path:
    apt, parts, made = image.apt(settings, draft / "apt"), draft / "parts", draft / "guest"
    apt.prepare()
    apt.unpacked((*PACKAGES, apt.depended(*KERNEL)), parts)
    made.mkdir()
    kernel = next((parts / "boot").glob("vmlinuz-*"))
    shutil.copyfile(kernel, made / "vmlinuz")
    found = guest.modules(
        parts / "lib/modules" / kernel.name.removeprefix("vmlinuz-"), [name.replace("-", "_") for name in MODULES]
    )
    _compiled(parts / "usr/lib/python3.11")
    first = [path for path in found if path.stem.replace("-", "_") not in LOADED_LATER]
    entries = {
        **{path.relative_to(parts).as_posix(): path.read_bytes() for path in _files(parts)},
        "init": INIT.encode(),
        "modules/order": "".join(f"{path.name}\n" for path in first).encode(),
        **{f"modules/{path.name}": path.read_bytes() for path in found},
        **{f"{folder}/.keep": b"" for folder in ("proc", "sys", "dev", "tmp", "run", "var/lib/rasdaemon")},
    }
    (made / "initrd").write_bytes(gzip.compress(guest.archive(entries), 1, mtime=0))
    return made


def _files(parts: Path) -> Iterator[Path]:
    """What goes into the guest; links are followed, since the archive holds files alone."""
    for folder in KEPT:
        for path in sorted((parts / folder).rglob("*")):
            name = f"/{path.relative_to(parts)}"
            if path.is_file() and not LEFT_OUT.search(name) and not name.startswith("/lib/modules"):
                yield path


def _compiled(folder: Path) -> None:
    """Compile what Python imports: in the guest that would take a minute. Another Python's code it would not take."""
    if sys.version_info[:2] == (3, 11):
        checked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(folder, quiet=2, invalidation_mode=checked, workers=1)


def _forewarn(folder: Path) -> bytes:
    """This very Forewarn, and the one library that its agent needs, as a further archive."""
    library = folder / "usr/lib/python3/dist-packages"
    shutil.copytree(ROOT / "src/forewarn", library / "forewarn", ignore=shutil.ignore_patterns("__pycache__", "models"))
    found = importlib.util.find_spec("cramjam")
    assert found is not None
    assert found.origin is not None
    shutil.copytree(Path(found.origin).parent, library / "cramjam", ignore=shutil.ignore_patterns("__pycache__"))
    _compiled(library)
    entries = {path.relative_to(folder).as_posix(): path.read_bytes() for path in library.rglob("*") if path.is_file()}
    entries |= {"etc/agent.toml": SETTINGS.encode(), "etc/agent.py": AGENT.encode()}
    return gzip.compress(guest.archive(entries), 1, mtime=0)


@dataclass
class HardwareGuest:
    """A guest that runs, a root shell in it, and QEMU's monitor."""

    folder: Path

    def sh(self, command: str, deadline: float = SHELL_S) -> str:
        """What a command in the guest prints; fails where it does not end."""
        with socket.socket(socket.AF_UNIX) as shell:
            shell.settimeout(deadline)
            shell.connect(str(self.folder / "sh"))
            shell.sendall(f"{command}\necho END''OF $?\n".encode())
            told = b""
            while not re.search(rb"ENDOF \d+", told):
                chunk = shell.recv(65536)
                assert chunk, told.decode("utf-8", "replace")
                told += chunk
        return told.decode("utf-8", "replace").replace("\r", "").partition("ENDOF ")[0]

    def monitor(self, command: str, **arguments: object) -> Any:
        """Let QEMU do something to the hardware."""
        with socket.socket(socket.AF_UNIX) as qmp:
            qmp.settimeout(SHELL_S)
            qmp.connect(str(self.folder / "qmp"))
            with qmp.makefile("rw") as talk:
                talk.readline()
                for asked in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    talk.write(json.dumps(asked) + "\n")
                    talk.flush()
                    answer = json.loads(talk.readline())
                    while "return" not in answer and "error" not in answer:
                        answer = json.loads(talk.readline())
        assert "return" in answer, answer
        return answer["return"]

    def scrape(self) -> str:
        """What a Prometheus would be shown."""
        return self.sh("wget -q -O - http://127.0.0.1:9778/metrics")

    def firmware_says(self, record: bytes) -> None:
        """Let the firmware hand a record to the kernel, which takes it at its next poll."""
        put = {firmware.BLOCK: record, firmware.PLACE: firmware.BLOCK.to_bytes(8, "little")}
        for place, content in put.items():
            program = (
                f"m=open('/dev/mem','r+b',buffering=0); m.seek({place}); m.write(bytes.fromhex('{content.hex()}'))"
            )
            told = self.sh(f'python3.11 -c "{program}"')
            assert "Error" not in told, told

    def events(self) -> list[dict[str, Any]]:
        """What waits to be sent to the server, which is not there."""
        told = self.sh("cat /var/lib/forewarn/events/* 2>/dev/null | grep -a '\"event\"'")
        return [json.loads(line[line.index("{") :]) for line in told.splitlines() if "{" in line]


@contextmanager
def hardware(settings: LabSettings, folder: Path) -> Iterator[HardwareGuest]:
    """A guest that has booted and in which the agent answers scrapes."""
    root, kept = image.root_folder(settings), built(settings)
    (folder / "initrd").write_bytes((kept / "initrd").read_bytes() + _forewarn(folder / "library"))
    (folder / "hest").write_bytes(firmware.hest())
    (folder / "nvme").write_bytes(b"")
    with (folder / "nvme").open("r+b") as drive:
        drive.truncate(64 << 20)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    command = [
        *(str(root / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(libraries)),
        *(str(root / "usr/bin/qemu-system-x86_64"), "-L", str(root / "usr/share/qemu")),
        *("-L", str(root / "usr/share/seabios"), "-machine", "pc,accel=tcg", "-cpu", "max", "-m", "768", "-smp", "1"),
        *("-kernel", str(kept / "vmlinuz"), "-initrd", "initrd", "-append", COMMAND_LINE),
        *("-acpitable", "file=hest"),
        *("-display", "none", "-nodefaults", "-no-reboot", "-serial", "file:console"),
        *("-serial", "unix:sh,server=on,wait=off", "-qmp", "unix:qmp,server=on,wait=off"),
        *("-drive", "file=nvme,format=raw,if=none,id=n0", "-device", "nvme,id=nv0,serial=GUESTNVME0,drive=n0"),
    ]
    environment = {"QEMU_MODULE_DIR": str(libraries / "qemu"), "PATH": "/usr/bin:/bin"}
    with (folder / "qemu").open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    found = HardwareGuest(folder)
    try:
        eventually(lambda: _booted(folder) or process.poll() is not None, BOOT_S, 0.2)
        assert process.poll() is None, (folder / "qemu").read_text() + _console(folder)
        found.sh("stty -echo; cd /; export PYTHONPATH=/usr/lib/python3/dist-packages")
        found.sh("(python3.11 /etc/agent.py >/tmp/agent 2>&1 &)")
        eventually(lambda: "forewarn_build_info" in found.scrape(), BOOT_S, 0.5)
        yield found
    finally:
        process.kill()
        process.wait(20.0)


def _console(folder: Path) -> str:
    console = folder / "console"
    return console.read_text(errors="replace") if console.exists() else ""


def _booted(folder: Path) -> bool:
    return "UP" in _console(folder)
