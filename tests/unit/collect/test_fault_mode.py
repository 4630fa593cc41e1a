"""Which part of a DRAM device fails, told from where its errors were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.collect.fault_mode import Address, FaultMode, fault_mode

ADDRESSES = st.builds(Address, *(st.integers(-1, 3) for _ in range(4)))


@pytest.mark.parametrize(
    ("places", "mode"),
    [
        ([], FaultMode.UNKNOWN),
        ([(0, -1, 7, 1)], FaultMode.UNKNOWN),
        ([(0, 2, 7, 1), (0, 2, 7, 1)], FaultMode.CELL),
        ([(0, 2, 7, 1), (0, 2, 7, 9)], FaultMode.ROW),
        ([(0, 2, 7, 1), (0, 2, 8, 1)], FaultMode.COLUMN),
        ([(0, 2, 7, 1), (0, 2, 8, 9)], FaultMode.BANK),
        ([(0, 2, 7, 1), (0, 3, 7, 1)], FaultMode.CELL),  # two cells, not a device
        ([(0, 1, 7, 1), (0, 2, 7, 1), (0, 3, 7, 1)], FaultMode.DEVICE),
        ([(0, 2, 7, 1), (0, 2, 7, 9), (0, 3, 1, 1)], FaultMode.DEVICE),
        ([(0, 2, 7, 1), (1, 2, 8, 9)], FaultMode.CELL),  # two ranks are two devices
    ],
)
def test_the_widest_fault_that_explains_the_errors_counts(
    places: list[tuple[int, int, int, int]], mode: FaultMode
) -> None:
    assert fault_mode(Address(*place) for place in places) is mode


@given(st.lists(ADDRESSES), ADDRESSES)
def test_a_further_error_never_narrows_the_fault(addresses: list[Address], further: Address) -> None:
    assert fault_mode([*addresses, further]) >= fault_mode(addresses)
