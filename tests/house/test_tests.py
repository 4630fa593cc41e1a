"""Tests about tests: each claims something, and none patches our own code."""

import ast
import re
from pathlib import Path

from tests.house.repository import Function, functions, tree, under

# What fails a test: `assert`, or a call that raises by itself when its claim does not hold.
CLAIMS = re.compile(r"^(?:check_|assert_)\w*$|^(?:raises|warns|fail|eventually|expect)$")


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _claims(function: Function) -> bool:
    return any(isinstance(node, ast.Assert) or CLAIMS.match(_called(node)) for node in ast.walk(function))


def test_every_test_claims_something() -> None:
    silent = [
        f"{path}:{name}"
        for path in under("tests", ".py")
        for name, node in functions(path)
        if node.name.startswith("test_") and not _claims(node)
    ]
    assert silent == []


def _of_ours(path: Path) -> set[str]:
    """The names in this file that stand for a part of the package."""
    names = {"forewarn"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("forewarn"):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.asname for alias in node.names if alias.asname and alias.name.startswith("forewarn")}
    return names


def _target(call: ast.Call) -> str:
    first = call.args[0] if call.args else ast.Constant("")
    written = first.value if isinstance(first, ast.Constant) else ast.unparse(first)
    return str(written).partition(".")[0]


def test_no_test_patches_our_own_code() -> None:
    patched = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path in under("tests", ".py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(("monkeypatch.setattr", "patch", "patch.object"))
        if _target(node) in _of_ours(path)
    ]
    assert patched == []
