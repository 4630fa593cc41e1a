"""The laboratory's guest: Debian's cloud kernel and a small file system in memory, with `witness` as its only work.

Kernel, busybox and the compiler are unpacked from their packages, never installed. The result is kept under a digest of
what it was built from.
"""

import gzip
import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from forewarn.errors import LaboratoryError
from forewarn.lab.cache import built
from forewarn.lab.commands import run
from forewarn.lab.libvirt import image
from forewarn.lab.settings import LabSettings

PACKAGES = ("busybox-static", "musl-dev", "tcc")
KERNEL = ("linux-image-cloud-amd64", r"linux-image-[0-9]\S*-cloud-amd64")
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_balloon")
SOURCES = files("forewarn.lab.libvirt") / "guest"
VERSION = 1  # goes up when this module builds something else from the same sources


def digest() -> str:
    """What names a built guest."""
    told = [(SOURCES / name).read_bytes() for name in ("init", "witness.c")]
    return hashlib.sha256(repr((VERSION, PACKAGES, KERNEL, MODULES, told)).encode()).hexdigest()[:12]


def guest_folder(settings: LabSettings) -> Path:
    """The folder with `vmlinuz` and `initrd`, built first where there is none: some seconds, with the network."""
    return built(settings.cache, f"guest-{digest()}", lambda draft: _build(settings, draft))


def _build(settings: LabSettings, draft: Path) -> Path:
    apt, parts, made = image.apt(settings, draft / "apt"), draft / "parts", draft / "guest"
    apt.prepare()
    apt.unpacked((*PACKAGES, apt.depended(*KERNEL)), parts)
    made.mkdir()
    kernel = next((parts / "boot").glob("vmlinuz-*"))
    shutil.copyfile(kernel, made / "vmlinuz")
    found = modules(parts / "lib/modules" / kernel.name.removeprefix("vmlinuz-"), MODULES)
    entries = {
        "init": (SOURCES / "init").read_bytes(),
        "bin/busybox": (parts / "bin/busybox").read_bytes(),
        "bin/witness": _compiled(parts, draft / "witness").read_bytes(),
        "modules/order": "".join(f"{path.name}\n" for path in found).encode(),
        **{f"modules/{path.name}": path.read_bytes() for path in found},
    }
    (made / "initrd").write_bytes(gzip.compress(archive(entries), 6, mtime=0))
    return made


def _compiled(parts: Path, out: Path) -> Path:
    """`witness`, linked with musl, so that it needs nothing beside itself. The compiler is one of the unpacked."""
    musl, tcc = parts / "usr/lib/x86_64-linux-musl", parts / "usr/lib/x86_64-linux-gnu/tcc"
    includes = [f"-I{parts / 'usr/include/x86_64-linux-musl'}", f"-I{tcc / 'include'}"]
    linked = [
        musl / "crt1.o",
        musl / "crti.o",
        out.with_suffix(".c"),
        musl / "libc.a",
        tcc / "libtcc1.a",
        musl / "crtn.o",
    ]
    out.with_suffix(".c").write_bytes((SOURCES / "witness.c").read_bytes())
    run([parts / "usr/bin/tcc", "-B", tcc, "-nostdinc", "-nostdlib", "-static", *includes, "-o", out, *linked])
    return out


def modules(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files of these modules of a kernel, each after those on which it depends. Raises LaboratoryError."""
    found = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    order: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in order:
            return
        if name not in found:
            raise LaboratoryError(f"the kernel package has no module {name}; its modules may be compressed")
        for needed in _depends(found[name].read_bytes()):
            add(needed)
        order[name] = found[name]

    for name in names:
        add(name)
    return list(order.values())


def _depends(module: bytes) -> Iterator[str]:
    """The names in a module's own `depends=` line."""
    told = re.search(rb"\0depends=([^\0]*)\0", module)
    yield from (name.decode().replace("-", "_") for name in (told[1] if told else b"").split(b",") if name)


def archive(entries: dict[str, bytes]) -> bytes:
    """Files by their paths as a cpio archive (format newc), all executable, with the folders that they need.

    >>> archive({"init": b"x"})[:6]
    b'070701'
    """
    folders = sorted({str(parent) for name in entries for parent in Path(name).parents if str(parent) != "."})
    listed = [(name, 0o040755, b"") for name in folders] + [(name, 0o100755, entries[name]) for name in entries]
    parts = [_entry(number, *one) for number, one in enumerate(listed, 1)]
    return b"".join((*parts, _entry(0, "TRAILER!!!", 0, b"")))


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    return _padded(head) + _padded(content)


def _padded(block: bytes) -> bytes:
    return block + b"\0" * (-len(block) % 4)
