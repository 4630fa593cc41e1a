"""Now or later: whether a move is still in time, and whether it can wait. Arithmetic for the policy `cost_benefit`.

Waiting one epoch saves what the move costs if the VM ends by itself or the alarm clears meanwhile, and costs what the
VM stands to lose if its host fails meanwhile.
"""

import math
from dataclasses import dataclass

from forewarn.domain.risk import HORIZONS

HOUR_S = HORIZONS[0].total_seconds()


@dataclass(frozen=True, slots=True)
class StoppingSettings:
    """When a move that pays is made now rather than later, and when none is made any more."""

    epoch_s: float = 3600.0
    """Seconds that a move would wait until it is weighed again."""

    vm_ends_per_epoch: float = 0.001
    """Share (0..1) of VMs that end by themselves within an epoch, so that their move would have been for nothing."""

    alarm_clears_per_epoch: float = 0.005
    """Share (0..1) of risks that fall below their threshold within an epoch."""

    delay_value: float = 0.0
    """What a cost is worth less, as a share of it, if it is paid an epoch later."""

    finish_chance_min: float = 0.1
    """Least P(the source does not fail before the move is done), at best, with which a move is begun."""

    def __post_init__(self) -> None:
        if self.epoch_s <= 0:
            raise ValueError(f"epoch_s is {self.epoch_s:g}; it lies above 0")
        for name in ("vm_ends_per_epoch", "alarm_clears_per_epoch", "finish_chance_min"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name):g}; it lies from 0 to 1")


def in_time(first_hour: float, duration_s: float) -> float:
    """P(the source does not fail before a move of `duration_s` is done).

    `first_hour` is P(failure) at the source within an hour, whose hazard is taken to last as long as the move does.

    >>> round(in_time(0.19, 1800), 3)
    0.9
    """
    return math.pow(1.0 - first_hour, duration_s / HOUR_S)


def at_best(first_hour: float, duration_s: float) -> float:
    """The same, as hopeful as the forecast allows: a failure within the hour may come at any moment of it.

    An even hazard lets a part that is sure to fail within the hour fail at once. That is right for weighing, but no
    reason to leave a VM behind that may still get away.

    >>> at_best(1.0, 36)
    0.99
    """
    if duration_s >= HOUR_S:
        return in_time(first_hour, duration_s)
    return 1.0 - first_hour * duration_s / HOUR_S


def waits(within_epoch: float, stake: float, cost: float, settings: StoppingSettings) -> bool:
    """Whether waiting one epoch beats moving now.

    With q = P(interrupted `within_epoch`), L = `stake` and c = `cost`, moving now wins where
    q·(L - c) >= c·(d + r + k): the value of delay, the VM's own end and the end of the alarm.
    """
    saved = settings.delay_value + settings.vm_ends_per_epoch + settings.alarm_clears_per_epoch
    return within_epoch * (stake - cost) < cost * saved
