"""Limits on size, and where broad handlers and the time may stand."""

import ast
from pathlib import Path

from tests.house.repository import ROOT, Function, functions, text, tree, under

FUNCTION_LINES = 60
FILE_LINES = 400
ARCHITECTURE_LINES = 150

# What is longer than the limit today, with its length. These lists only shrink: an entry goes when its function or
# file has been split, and its number is lowered when it has got shorter.
LONG_FUNCTIONS: dict[str, int] = {}
LONG_FILES: dict[str, int] = {}

BROAD_HANDLERS = {Path("src/forewarn/control.py"), Path("src/forewarn/collect/agent.py")}
CLOCK = Path("src/forewarn/clock.py")


def _code() -> tuple[Path, ...]:
    return (*under("src", ".py"), *under("tests", ".py"), *under("benchmarks", ".py"))


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{path}:{name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in _code()
        for name, node in functions(path)
    }
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == LONG_FUNCTIONS


def test_no_file_of_the_package_is_too_long_to_read_at_once() -> None:
    lengths = {str(path): (text(path) or "").count("\n") for path in under("src", ".py")}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES} == LONG_FILES


def test_the_architecture_is_told_on_a_few_pages() -> None:
    page = ROOT / "ARCHITECTURE.md"
    lines = page.read_text(encoding="utf-8").count("\n") if page.exists() else 0
    assert lines <= ARCHITECTURE_LINES


def _broad(handler: ast.ExceptHandler) -> bool:
    """Whether it stops every error; one that only tidies up and raises again stops none."""
    if ast.unparse(handler.body[-1]) == "raise":
        return False
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in caught)


def test_only_the_two_loops_catch_everything() -> None:
    broad = {
        path
        for path in under("src", ".py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and _broad(node)
    }
    assert broad <= BROAD_HANDLERS


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_only_the_clock_asks_for_the_time() -> None:
    assert {path for path in under("src", ".py") if "time" in _imported(path)} <= {CLOCK}


def test_the_package_itself_imports_nothing() -> None:
    assert _imported(Path("src/forewarn/__init__.py")) == set()


def _is_a_shell(node: Function) -> bool:
    """Whether it does nothing, without a docstring that says why that is right."""
    return all(isinstance(line, ast.Pass) or ast.unparse(line) == "..." for line in node.body)


def _of_protocols(path: Path) -> set[ast.AST]:
    classes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    protocols = [node for node in classes if any("Protocol" in ast.unparse(base) for base in node.bases)]
    return {method for protocol in protocols for method in protocol.body}


def test_a_function_that_does_nothing_says_why() -> None:
    shells = [
        f"{path}:{name}"
        for path in under("src", ".py")
        for name, node in functions(path)
        if _is_a_shell(node) and node not in _of_protocols(path)
    ]
    assert shells == []
