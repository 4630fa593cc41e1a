"""What holds for every test: where recorded data lies, how chance is seeded, what was skipped and why."""

import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without these flags the browser looks up its maker's hosts at every start.
CHROMIUM_FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)

# The same examples at each run; HYPOTHESIS_PROFILE=explore looks for new ones. A failing example found there
# is kept as an `@example` beside its property, so there is no database.
settings.register_profile("house", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", derandomize=False, database=None, deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--skipped-to", type=Path, help="write the list of skipped tests to this file too")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test in tests/browser or tests/integration bears that marker."""
    for item in items:
        for tier in ("browser", "integration"):
            if item.path.is_relative_to(ROOT / "tests" / tier):
                item.add_marker(tier)


def _recorded(variable: str, beside: str) -> Path:
    """The folder that the environment names, else one beside the repository, else a skip that says so."""
    named = os.environ.get(variable)
    folder = Path(named) if named else ROOT.parent / "shared" / beside
    if not folder.is_dir():
        pytest.skip(f"recorded {beside} not found; set {variable}")
    return folder


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded telemetry and outages (FOREWARN_DATA)."""
    return _recorded("FOREWARN_DATA", "data")


@pytest.fixture(scope="session")
def recorded_fixtures() -> Path:
    """The folder of recorded outputs of real tools, such as `smartctl --json` (FOREWARN_FIXTURES)."""
    return _recorded("FOREWARN_FIXTURES", "fixtures")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Starts the distribution's Chromium, where there is one."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        pytest.skip("no Chromium found; install the package chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {**browser_type_launch_args, "executable_path": found, "args": [*CHROMIUM_FLAGS, *sandbox]}


def skipped_by_reason(reports: list[pytest.TestReport | pytest.CollectReport]) -> dict[str, list[str]]:
    """The node ids of skipped tests, under the reason that each gave."""
    grouped: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        grouped[reason.removeprefix("Skipped: ")].append(report.nodeid)
    return dict(grouped)


def skipped_lines(grouped: dict[str, list[str]]) -> list[str]:
    """The list as a person reads it: each reason, and below it the tests."""
    if not grouped:
        return ["No test was skipped."]
    lines = []
    for reason, tests in sorted(grouped.items()):
        lines.append(f"{len(tests)} skipped: {reason}")
        lines.extend(f"    {test}" for test in sorted(tests))
    return lines


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Closes each run with what it did not try, and why."""
    lines = skipped_lines(skipped_by_reason(terminalreporter.stats.get("skipped", [])))
    terminalreporter.section("what was skipped, and why")
    for line in lines:
        terminalreporter.line(line)
    if path := config.getoption("--skipped-to"):
        path.write_text("\n".join(lines) + "\n")
