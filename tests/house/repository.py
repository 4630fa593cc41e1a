"""The repository as its own rules see it: the files that git keeps or would keep, and their functions."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> tuple[Path, ...]:
    """Every file that is tracked or would be, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, or no git: which files belong to the repository is unknown")
    names = (Path(name) for name in listed.stdout.split("\0") if name)
    return tuple(sorted(name for name in names if (ROOT / name).is_file()))


def under(folder: str, suffix: str = "") -> tuple[Path, ...]:
    """The files below one folder, such as `src`, that end in `suffix`."""
    return tuple(path for path in files() if path.is_relative_to(folder) and path.name.endswith(suffix))


def text(path: Path) -> str | None:
    """What the file says; None for a picture or anything else that is no text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


@cache
def tree(path: Path) -> ast.Module:
    """The syntax of a Python file."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[tuple[str, Function]]:
    """Each function of a file with its dotted name, methods and inner functions too."""

    def within(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, Function | ast.ClassDef)
            name = f"{prefix}{child.name}." if named else prefix  # type: ignore[attr-defined]  # one of the named
            if isinstance(child, Function):
                yield name.rstrip("."), child
            yield from within(child, name)

    yield from within(tree(path), "")
