"""A file is written whole or not at all, and read as what it may be: absent or damaged."""

from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: whoever is killed on the way leaves the file as it was. Raises OSError.

    It is not forced onto the disk: the agent writes often, on hosts whose disks have other work. A machine that loses
    power may lose the last seconds, and readers must tell a damaged file from a whole one.
    """
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_bytes(content)
    draft.replace(path)


def read_text(path: Path) -> str:
    """The text of a file, empty where it cannot be read; what is no UTF-8 is replaced."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
