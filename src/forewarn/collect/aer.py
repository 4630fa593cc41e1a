"""Errors of the PCI Express link to a device, as the kernel's advanced error reporting counts them."""

import re
from collections.abc import Iterator

from forewarn.collect.tree import Tree

SEVERITIES = ("correctable", "nonfatal", "fatal")
TOTAL = re.compile(r"^TOTAL_ERR_\w+ (\d+)$", re.MULTILINE)


def link_errors(tree: Tree, device: str) -> Iterator[tuple[str, float]]:
    """Severity and count of the errors of the PCI device below a folder of sysfs; nothing where it counts none."""
    for severity in SEVERITIES:
        total = TOTAL.search(tree.words(f"{device}/aer_dev_{severity}"))
        if total:
            yield severity, float(total[1])
