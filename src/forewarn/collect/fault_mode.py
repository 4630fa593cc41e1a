"""Which part of a DRAM device fails, told from the addresses of its corrected errors. Pure.

The names are the field's: a fault is of one cell, of a row (word line), of a column (bit line), of a bank, or of the
whole device. Wider faults are likelier to beat the correcting code: Sridharan and others, "Memory Errors in Modern
Systems", ASPLOS 2015; Beigi and others, "A Systematic Study of DDR4 DRAM Faults in the Field", HPCA 2023. Both group
errors as it is done here; where they ask for more than two addresses, two are enough here, since a wrong guess of a
wider fault costs a look and a missed one a crash.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

SCATTERED_BANKS_MIN = 3  # banks with errors from which on single cells are no coincidence


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where within a DIMM an error was: numbers as the memory controller's driver tells them; -1 where it does not."""

    rank: int = -1
    bank: int = -1
    row: int = -1
    column: int = -1

    @property
    def known(self) -> bool:
        """Whether the driver told enough to tell faults apart: bank, row and column."""
        return min(self.bank, self.row, self.column) >= 0


class FaultMode(IntEnum):
    """How much of a device a fault takes; a wider one is a larger number."""

    UNKNOWN = 0
    CELL = 1
    COLUMN = 2
    ROW = 3
    BANK = 4
    DEVICE = 5


def fault_mode(addresses: Iterable[Address]) -> FaultMode:
    """The widest fault that explains the errors of one DIMM; UNKNOWN without any address.

    Errors of different ranks are different devices' and are judged apart. Within a rank:

    - all at one address: a cell;
    - one bank, one row, several columns: a row;
    - one bank, one column, several rows: a column;
    - one bank, several rows and columns: a bank;
    - several banks, one of them with more than a cell, or three with a cell each: the device. Two cells in two banks
      are two cells.

    >>> fault_mode([Address(0, 2, 7, 1), Address(0, 2, 7, 9)]).name
    'ROW'
    """
    by_rank: dict[int, set[Address]] = defaultdict(set)
    for address in addresses:
        if address.known:
            by_rank[address.rank].add(address)
    return max((_of_rank(found) for found in by_rank.values()), default=FaultMode.UNKNOWN)


def _of_rank(addresses: set[Address]) -> FaultMode:
    by_bank: dict[int, set[Address]] = defaultdict(set)
    for address in addresses:
        by_bank[address.bank].add(address)
    modes = [_of_bank(found) for found in by_bank.values()]
    widest = max(modes)
    if len(modes) > 1 and (widest > FaultMode.CELL or len(modes) >= SCATTERED_BANKS_MIN):
        return FaultMode.DEVICE
    return widest


def _of_bank(addresses: set[Address]) -> FaultMode:
    if len(addresses) == 1:
        return FaultMode.CELL
    if len({address.row for address in addresses}) == 1:
        return FaultMode.ROW
    if len({address.column for address in addresses}) == 1:
        return FaultMode.COLUMN
    return FaultMode.BANK
