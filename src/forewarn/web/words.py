"""Numbers as people say them: shares, spans of time, sizes. Pure; used by every page, so that all say it alike."""

from datetime import datetime

from forewarn.domain.inventory import Kind

KIND_WORDS = {
    Kind.CPU: "CPU",
    Kind.MEMORY: "Memory",
    Kind.DISK: "Disk",
    Kind.NETWORK: "Network",
    Kind.POWER: "Power",
    Kind.HOST: "Host",
    Kind.VM: "VM",
}
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def percent(share: float) -> str:
    """A probability as per cent with two digits that matter, and never a false 0 or 100.

    >>> percent(0.0412), percent(0.00031), percent(0.9999), percent(0.0000001)
    ('4.1 %', '0.031 %', '> 99.9 %', '< 0.001 %')
    """
    value = share * 100
    if value < 0.001:
        return "0 %" if value == 0 else "< 0.001 %"
    if value > 99.9:
        return "100 %" if value == 100 else "> 99.9 %"
    digits = next(d for limit, d in ((0.01, 4), (0.1, 3), (1, 2), (99.95, 1), (101, 1)) if value < limit)
    return f"{value:.{digits}f} %"


def times(ratio: float) -> str:
    """How many times the threshold a risk is.

    >>> times(4.63), times(0.031), times(37.2)
    ('4.6 times', '0.03 times', '37 times')
    """
    if ratio >= 10:
        return f"{ratio:.0f} times"
    return f"{ratio:.1f} times" if ratio >= 0.1 else f"{ratio:.2f} times"


def span(seconds: float) -> str:
    """A horizon: whole hours up to two days, then days.

    >>> span(3600), span(86400), span(604800)
    ('1 hour', '24 hours', '7 days')
    """
    hours = seconds / 3600
    amount, unit = (hours, "hour") if hours < 48 else (hours / 24, "day")
    return f"{amount:g} {unit}" + ("" if amount == 1 else "s")


def duration(seconds: float) -> str:
    """A measured or predicted time, in at most two units.

    >>> duration(0.25), duration(75), duration(7260)
    ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole // 60, "min", whole % 60, "s")
    if whole < 172800:
        return _two(whole // 3600, "h", whole % 3600 // 60, "min")
    return _two(whole // 86400, "d", whole % 86400 // 3600, "h")


def _two(first: int, first_unit: str, second: int, second_unit: str) -> str:
    return f"{first} {first_unit}" + (f" {second} {second_unit}" if second else "")


def milliseconds(value: float) -> str:
    """A downtime.

    >>> milliseconds(84.2), milliseconds(2310)
    ('84 ms', '2.3 s')
    """
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def size(count: float) -> str:
    """Bytes in the largest binary unit that leaves at least one.

    >>> size(512), size(68719476736)
    ('512 B', '64 GiB')
    """
    step = 0
    while count >= 1024 and step < len(_SIZES) - 1:
        count, step = count / 1024, step + 1
    return f"{count:.0f} {_SIZES[step]}" if count >= 10 or step == 0 else f"{count:.1f} {_SIZES[step]}"


def clock_time(time: datetime) -> str:
    """The time of day, in UTC."""
    return f"{time:%H:%M:%S}"


def moment(time: datetime, now: datetime) -> str:
    """A time to the minute, with its day where that is not today's.

    >>> from datetime import UTC
    >>> moment(datetime(2026, 1, 6, 2, 30, tzinfo=UTC), datetime(2026, 1, 5, 23, 0, tzinfo=UTC))
    '2026-01-06 02:30 UTC'
    """
    return f"{time:%H:%M} UTC" if time.date() == now.date() else f"{time:%Y-%m-%d %H:%M} UTC"


def ahead(time: datetime, now: datetime) -> str:
    """How far a time lies ahead or back.

    >>> ahead(datetime(2026, 1, 5, 4), datetime(2026, 1, 5, 2)), ahead(datetime(2026, 1, 5), datetime(2026, 1, 5, 2))
    ('in 2 h', '2 h ago')
    """
    seconds = (time - now).total_seconds()
    return f"in {rough(seconds)}" if seconds >= 0 else f"{rough(-seconds)} ago"


def rough(seconds: float) -> str:
    """A span of time that nobody needs to the second.

    >>> rough(0.4), rough(75), rough(7260)
    ('under a minute', '1 min', '2 h 1 min')
    """
    return "under a minute" if seconds < 60 else duration(seconds if seconds >= 3600 else seconds // 60 * 60)


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> count(1, "move"), count(0, "move")
    ('1 move', '0 moves')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listing(parts: list[str]) -> str:
    """Words joined as in a sentence.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
