"""What may not be written anywhere in the repository."""

import re
from pathlib import Path

import pytest

from tests.house.repository import files, text, under

# Written so that this line does not match itself.
REGISTRIES = re.compile(
    r"pythonhosted[.]org|pypi[.]org/(?:simple|pypi)|registry[.]npmjs[.]org"
    r"|(?:deb|security|snapshot)[.]debian[.]org|(?:archive|security|ports)[.]ubuntu[.]com"
)
# Folders of one machine, of which a clone elsewhere knows nothing.
PLACES = re.compile(r"(?<![\w.~-])/(?:work|farm|root)/[\w.]")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|NotImplementedError")


def _found(pattern: re.Pattern[str], paths: tuple[Path, ...]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate((text(path) or "").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_package_registry() -> None:
    assert _found(REGISTRIES, files()) == []


def test_no_file_bears_a_path_of_one_machine() -> None:
    assert _found(PLACES, files()) == []


def test_nothing_in_the_package_is_left_for_later() -> None:
    assert _found(UNFINISHED, under("src")) == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (REGISTRIES, "--index-url https://" + "py" + "pi.org/simple"),
        (PLACES, "path = '/" + "work/main'"),
        (UNFINISHED, "# TO" + "DO: later"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)
