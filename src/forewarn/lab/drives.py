"""Drives of laboratory hosts: a program in the place of smartctl, which prints the readings of the moment.

An agent asks it as it would ask smartctl, so all that follows is as on any host. Only the drive is not real.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.lab.decline import Decline, Reading

DEVICE = "sda"
NAMES = {
    5: "Reallocated_Sector_Ct",
    9: "Power_On_Hours",
    12: "Power_Cycle_Count",
    187: "Reported_Uncorrect",
    188: "Command_Timeout",
    194: "Temperature_Celsius",
    197: "Current_Pending_Sector",
    198: "Offline_Uncorrectable",
}
STANDING = {9: 21_000, 12: 14, 194: 27}  # of a drive in its third year
PROGRAM = """\
#!/bin/sh
# Stands in for smartctl on a host of a laboratory: it prints what was last written for the drive.
folder={folder}
case " $* " in
    *" --scan-open "*) cat "$folder/scan.json" ;;
    *) for drive in "$@"; do :; done; cat "$folder/$(basename "$drive").json" ;;
esac
"""


@dataclass(frozen=True)
class Bay:
    """The place of one drive in a host, in a folder of its own."""

    folder: Path

    @property
    def program(self) -> Path:
        """What an agent calls in place of smartctl."""
        return self.folder / "smartctl"

    def insert(self, drive: Decline) -> None:
        """Put a drive in, at its first reading."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program.write_text(PROGRAM.format(folder=self.folder))
        self.program.chmod(0o755)
        scan = {
            "devices": [{"name": f"/dev/{DEVICE}", "info_name": f"/dev/{DEVICE}", "type": "sat", "protocol": "ATA"}]
        }
        self._write("scan", scan)
        self.show(drive, drive.readings[0])

    def show(self, drive: Decline, reading: Reading) -> None:
        """Let the drive say this from now on."""
        self._write(DEVICE, document(drive, reading))

    def _write(self, name: str, told: Mapping[str, Any]) -> None:
        draft = self.folder / f"{name}.draft"
        draft.write_text(json.dumps(told))
        draft.replace(self.folder / f"{name}.json")


def document(drive: Decline, reading: Reading) -> dict[str, Any]:
    """What `smartctl --json --all` prints of a drive, as far as anybody here reads it."""
    hours = STANDING[9] + int(reading.day * 24)
    raw = {**STANDING, **reading.raw, 9: hours}
    table = [
        {"id": number, "name": NAMES[number], "value": 100, "worst": 100, "thresh": 0, "raw": {"value": value}}
        for number, value in sorted(raw.items())
    ]
    return {
        "json_format_version": [1, 0],
        "smartctl": {"exit_status": 0 if reading.passed else 8},
        "device": {"name": f"/dev/{DEVICE}", "info_name": f"/dev/{DEVICE}", "type": "sat", "protocol": "ATA"},
        "model_name": drive.model,
        "serial_number": drive.serial,
        "firmware_version": "LAB1",
        "user_capacity": {"bytes": drive.capacity_bytes},
        "rotation_rate": 5900,
        "smart_status": {"passed": reading.passed},
        "power_on_time": {"hours": hours},
        "power_cycle_count": STANDING[12],
        "temperature": {"current": STANDING[194]},
        "ata_smart_attributes": {"revision": 10, "table": table},
    }
