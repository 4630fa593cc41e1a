"""Files of JSON lines that grow to a limit: then `NAME` becomes `NAME.1`, and a new one starts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from forewarn.errors import StoreUnavailable


def append_lines(path: Path, rows: Iterable[Mapping[str, object]], bytes_max: int) -> None:
    """Add a line per row; at most `path` and `path.1` exist. Raises StoreUnavailable where that cannot be done."""
    text = "".join(json.dumps(row, default=str) + "\n" for row in rows)
    try:
        if path.exists() and path.stat().st_size + len(text) > bytes_max:
            path.replace(path.with_name(path.name + ".1"))
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StoreUnavailable(f"the file {path} cannot be written: {error}") from error
