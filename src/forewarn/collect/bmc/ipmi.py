"""A BMC asked by IPMI: `ipmitool`, over the network (lanplus) or through the kernel.

Asking is `IpmiBmc`'s; everything else is parsing of what ipmitool prints. The password reaches ipmitool in a
file, never on its command line.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from forewarn.collect.bmc.answer import Answer, Entry, Health, Quantity, Reading, Supply, supply_of
from forewarn.collect.bmc.settings import BmcSettings, BmcTarget
from forewarn.collect.smart import Run, Runner
from forewarn.collect.tree import label_text, parse_number
from forewarn.errors import SourceAbsent

UNITS = {
    "degrees C": Quantity.TEMPERATURE,
    "Volts": Quantity.VOLTAGE,
    "Amps": Quantity.CURRENT,
    "Watts": Quantity.POWER,
    "RPM": Quantity.FAN,
}
HEALTH = {
    "ok": Health.NOMINAL,
    "nc": Health.WARNING,
    "cr": Health.CRITICAL,
    "nr": Health.CRITICAL,
    **dict.fromkeys(("lnc", "unc"), Health.WARNING),
    **dict.fromkeys(("lcr", "ucr", "lnr", "unr"), Health.CRITICAL),
}
_MEASURED = re.compile(r"(-?[0-9.]+) (degrees C|Volts|Amps|Watts|RPM)")
_NOTHING = ("No Reading", "Disabled", "Not Readable", "na")
POWER_SUPPLY_ENTITY = "10."  # IPMI 2.0, table 43-13
_SUPPLY_WORDS = (
    "presence detected",
    "ac lost",
    "failure detected",
    "predictive failure",
    "config error",
    "out-of-range",
)


class IpmiBmc:
    """Asks one BMC; `target` None is the one of this very host."""

    def __init__(self, target: BmcTarget | None, settings: BmcSettings, run: Run | None = None) -> None:
        self._target, self._settings, self._run = target, settings, run or Runner()
        self._log_stamp = ""

    def ask(self) -> Answer:
        """Everything at once. Raises SourceAbsent where the BMC gives nothing."""
        if shutil.which(self._settings.command) is None:
            raise SourceAbsent(f"{self._settings.command} is not on PATH: install ipmitool")
        with self._access() as access:

            def tell(*asked: str) -> str:
                return self._tell([*access, *asked])

            sensors = tell("sdr", "elist", "all")
            if not sensors.strip():
                raise SourceAbsent("ipmitool gets no answer: wrong address, account or privilege, or the BMC hangs")
            answer = parse_sensors(sensors)
            about, chassis = fields(tell("mc", "info")), fields(tell("chassis", "status"))
            answer = replace(answer, firmware=about.get("Firmware Revision", ""), powered=_powered(chassis))
            return self._with_log(replace(answer, maker=about.get("Manufacturer ID", "")), tell)

    def _with_log(self, answer: Answer, tell: Callable[..., str]) -> Answer:
        """The answer with the event log, where something was added to it or taken away since the last poll."""
        about = fields(tell("sel", "info"))
        entries, free = about.get("Entries", ""), about.get("Free Space", "").partition(" ")[0]
        answer = replace(
            answer,
            log_entries=int(entries) if entries.isdecimal() else None,
            log_free_bytes=int(free) if free.isdecimal() else None,
        )
        stamp = f"{entries} {about.get('Last Add Time')} {about.get('Last Del Time')}"
        if not about or stamp == self._log_stamp:
            return answer
        told = tell("-c", "sel", "elist", "last", str(self._settings.sel_entries_max))
        if entries != "0" and not told.strip():
            return answer  # it has entries and did not tell them: asked again at the next poll
        self._log_stamp = stamp
        return replace(answer, log=tuple(parse_log(told)))

    def _tell(self, command: Sequence[str]) -> str:
        try:
            return self._run(command, self._settings.timeout_s).decode("utf-8", "replace")
        except subprocess.TimeoutExpired as slow:
            raise SourceAbsent(f"no answer within {self._settings.timeout_s:g} s") from slow
        except OSError as problem:
            raise SourceAbsent(f"{self._settings.command} cannot be run: {problem.strerror}") from problem

    @contextmanager
    def _access(self) -> Iterator[list[str]]:
        """The beginning of each command."""
        if self._target is None:
            yield [self._settings.command, "-I", "open"]
            return
        target, (name, port) = self._target, split_address(self._target.address)
        command = [self._settings.command, "-I", "lanplus", "-H", name, "-p", port, "-C", str(target.cipher_suite)]
        command += ["-L", "USER", "-N", "2", "-R", "1"]
        if not target.username:
            yield [*command, "-P", ""]
            return
        with tempfile.TemporaryDirectory(prefix="forewarn-bmc-") as folder:  # readable by its owner alone
            path = Path(folder, "password")
            path.write_text(f"{target.password()}\n", encoding="utf-8")
            yield [*command, "-U", target.username, "-f", str(path)]


def split_address(address: str) -> tuple[str, str]:
    """Name and port.

    >>> split_address("bmc03:9623"), split_address("bmc03"), split_address("[fe80::1]:623")
    (('bmc03', '9623'), ('bmc03', '623'), ('fe80::1', '623'))
    """
    name, _, port = address.rpartition(":")
    if name.startswith("[") or (name and ":" not in name and port.isdecimal()):
        return name.strip("[]"), port
    return address.strip("[]"), "623"


def fields(text: str) -> dict[str, str]:
    """The lines `name : value` in what ipmitool printed."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line and not line.startswith(" "))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _powered(chassis: dict[str, str]) -> bool | None:
    return {"on": True, "off": False}.get(chassis.get("System Power", ""))


def parse_sensors(text: str) -> Answer:
    """What `ipmitool sdr elist all` printed: name, number, state, entity, and what it shows.

    >>> parse_sensors("CPU1 Temp        | 01h | ok  |  3.1 | 45 degrees C").readings[0].value
    45.0
    """
    readings: list[Reading] = []
    supplies: dict[str, Supply] = {}
    redundant: dict[str, bool] = {}
    unread = 0
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 5:
            continue
        name, number, state, entity, said = cells
        measured = _MEASURED.fullmatch(said)
        if measured:
            value, unit = parse_number(measured[1]), UNITS[measured[2]]
            readings.append(Reading(number, label_text(name), unit, value, HEALTH.get(state), supply_of(name)))
        elif said in _NOTHING:
            unread += 1
        else:
            _discrete(name, entity, said, supplies, redundant)
    return Answer(tuple(readings), tuple(supplies.values()), redundant, unread=unread)


def _discrete(name: str, entity: str, said: str, supplies: dict[str, Supply], redundant: dict[str, bool]) -> None:
    words = said.lower()
    if "redundan" in words:
        redundant[label_text(name)] = "fully redundant" in words
        return
    supply = supply_of(name) or (f"PSU{entity.partition('.')[2]}" if entity.startswith(POWER_SUPPLY_ENTITY) else "")
    if not supply or not (entity.startswith(POWER_SUPPLY_ENTITY) or any(word in words for word in _SUPPLY_WORDS)):
        return
    supplies[supply] = Supply(
        supply,
        present="presence detected" in words,
        input_lost="ac lost" in words or "ac out-of-range" in words,
        failed=bool(re.search(r"(?<!predictive )failure detected", words)),
        failure_predicted="predictive failure" in words,
    )


def parse_log(text: str) -> Iterator[Entry]:
    """The entries in what `ipmitool -c sel elist` printed: number, date, time, sensor, event, direction."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) >= 6 and re.fullmatch(r"[0-9a-f]+", cells[0]):
            key = " ".join(cells[:6])
            yield Entry(
                key,
                _log_time(cells[1], cells[2]),
                label_text(cells[3]),
                label_text(cells[4]),
                "Deasserted" not in cells[5],
            )


def _log_time(date: str, time: str) -> datetime | None:
    """The time of an entry; None before the BMC's clock was set (`Pre-Init`), or for no time at all.

    ipmitool writes it in the time of this machine.
    """
    clock, _, zone = time.partition(" ")
    try:
        found = datetime.strptime(f"{date} {clock}", "%m/%d/%Y %H:%M:%S").astimezone()
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if zone == "UTC" else found.astimezone(UTC)
