"""A file is written whole or not at all, and read as what it may be: absent or damaged."""

from pathlib import Path

from forewarn.errors import SourceAbsent


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


class Kept:
    """What a source remembers from one run of the agent to the next: one file in its folder, nothing without a folder.

    >>> Kept(None, "seen.json").text
    ''
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder, self._name = folder, name

    @property
    def text(self) -> str:
        """What was kept, empty for nothing; it may be damaged."""
        return read_text(self._folder / self._name) if self._folder else ""

    def keep(self, content: bytes) -> None:
        """Keep this in place of what was; the folder is made. Raises SourceAbsent where that cannot be done."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / self._name, content)
        except OSError as problem:
            raise SourceAbsent(f"what was seen cannot be kept in {self._folder}: {problem.strerror}") from problem
