"""The part of the metric catalogue that tells of telemetry: parts that vanish, counters that fall, sensors that stick.

The series are the agent's own, made by comparing its rounds (`collect/continuity.py`) and by asking BMCs. They end
where the trouble ends, so a value stands for minutes only.
"""

from collections.abc import Iterator

from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Combine, Metric

HOLD_S = 300.0
CPU_CHIPS = "platform_coretemp_.*|.*k10temp.*|pci0000:00_0000:00[_:]1[89a-f]_3|.*cpu.*"
PSU = "(?i)((?:PSU|PS) ?[0-9]+)"

Where = tuple[tuple[str, str], ...]


def oddities(key: str, kind: Kind, collectors: str, pattern: str = "", *, sensor: Where = ()) -> Iterator[Metric]:
    """Three metrics of one kind of part: `<key>_vanished`, `<key>_backwards` and `<key>_stuck`.

    `collectors` is a regular expression; `pattern` finds the part in what the agent calls it. Parts of which a host has
    one are named by neither; then `sensor` says which of its sensors is meant.
    """
    where, label = (("collector", collectors),), "" if kind is Kind.CPU else "device"
    for what, name, words in (
        ("vanished", "vanished_seconds", "seconds since the part was last seen, while it is missing"),
        ("backwards", "backwards_total", "times that a counter of the part fell"),
        ("stuck", "stuck", "1 while a sensor of the part shows the very same value for long"),
    ):
        counter = what == "backwards"
        yield Metric(
            f"{key}_{what}",
            kind,
            f"forewarn_telemetry_{name}",
            words,
            "seconds" if what == "vanished" else "",
            where=sensor if what == "stuck" and sensor else where,
            device_label=label,
            device_pattern=pattern,
            counter=counter,
            combine=Combine.SUM if counter else Combine.MAX,
            hold_s=3600.0 if counter else HOLD_S,
        )


def _bmc(key: str, words: str, unit: str = "", combine: Combine = Combine.MAX, *, counter: bool = False) -> Metric:
    name = f"forewarn_telemetry_{key}{'_total' if counter else '_seconds' if unit else ''}"
    return Metric(key, Kind.HOST, name, words, unit, counter=counter, combine=combine)


BMC_METRICS = (
    _bmc("bmc_up", "1 while every BMC of the host answers", combine=Combine.MIN),
    _bmc("bmc_silent", "time since a BMC answered last", "seconds"),
    _bmc("bmc_stuck", "1 where no reading of a BMC has moved for long"),
    _bmc("bmc_resets", "times that a BMC started anew", combine=Combine.SUM, counter=True),
)
