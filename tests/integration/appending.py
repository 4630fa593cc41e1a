"""A process that appends to a store without end, until it is killed: run by test_killed_store.py."""

import itertools
import sys
from datetime import timedelta
from pathlib import Path

from forewarn.store.duckdb import DuckDBStore
from tests.telemetry import NOON, batch, every

BATCH = 500


def main(path: Path) -> None:
    store = DuckDBStore(path)
    for number in itertools.count():
        start = NOON + number * BATCH * timedelta(seconds=1)
        values = [float(number * BATCH + n) for n in range(BATCH)]
        store.append(batch("disk:A", "smart_5", every(start, timedelta(seconds=1), values)))
        if number % 5 == 4:
            store.roll_up(start)
        sys.stdout.write(f"{number + 1}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
