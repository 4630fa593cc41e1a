"""Frozen machines, and how to thaw one so that a test may break it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.fixture
def machines() -> Path:
    """The folder of frozen machines."""
    return FIXTURES / "machines"


@pytest.fixture
def recordings() -> Path:
    """The folder of small recordings of smartctl."""
    return FIXTURES / "smartctl"


@pytest.fixture
def thaw(machines: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies a frozen machine to where a test may change it."""
    return lambda name: Path(shutil.copytree(machines / name, tmp_path / name, symlinks=True))
