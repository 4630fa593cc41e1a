"""Looking at what collectors give, and breaking the files of a frozen machine."""

from collections.abc import Iterable
from pathlib import Path

from forewarn.collect.base import Collected
from forewarn.domain.telemetry import Sample


def find(samples: Iterable[Collected], name: str) -> dict[str, float]:
    """The values of one metric under their labels, written `key=value` in order; no series may come twice."""
    found: dict[str, float] = {}
    for sample in samples:
        if isinstance(sample, Sample) and sample.name == name:
            key = " ".join(f"{label}={value}" for label, value in sorted(sample.labels.items()))
            assert key not in found, f"two samples of {name} {key}"
            found[key] = sample.value
    return found


def unreadable(path: Path) -> None:
    """Makes reading a file fail with an input/output error, for root too."""
    path.unlink()
    path.symlink_to("/proc/self/mem")
