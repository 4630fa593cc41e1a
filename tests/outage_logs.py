"""Outage logs as a site writes them, for tests: a dozen columns, dirty where real ones are."""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forewarn.store.outages import REQUIRED

HEADER = (*REQUIRED, "procsinnode", "mem", "num intercon", "purpose", "Prob Fixed", "Software", "Facilities")
BEGIN = datetime(2001, 1, 1, tzinfo=UTC)


def row(system: str, node: str, begun: str, **values: str) -> dict[str, str]:
    usual = {"nodes": "4.0", "node prod": "1-Jan", "node decom": "current", "procsinnode": "4.0", "purpose": "compute"}
    return {**dict.fromkeys(HEADER, ""), **usual, "System": system, "nodenumz": node, "Prob Started": begun, **values}


def write(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return path


def site(since_day: int, until_day: int, seed: int = 5) -> list[dict[str, str]]:
    """Two systems of 12 nodes. Nodes 0 and 1 of system 1 lose power supplies again and again, others seldom."""
    chance = random.Random(seed)
    found = []
    for day in range(until_day):
        for system in ("1", "2"):
            for node in range(12):
                weak = system == "1" and node < 2
                if chance.random() < (0.08 if weak else 0.0008):
                    begun = BEGIN + timedelta(days=day, minutes=chance.randrange(1440))
                    hardware = "Power Supply" if weak or chance.random() < 0.5 else "CPU"
                    if day >= since_day:
                        fixed = f"{begun + timedelta(hours=2):%m/%d/%Y %H:%M}"
                        outage = row(system, f"{node}.0", f"{begun:%m/%d/%Y %H:%M}", Hardware=hardware)
                        found.append({**outage, "nodes": "12.0", "Prob Fixed": fixed})
    return found
