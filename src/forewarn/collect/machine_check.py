"""What the status of a machine check means (IA32_MCi_STATUS; Intel SDM vol. 3, sections 16.3.2.2 and 16.9.2)."""

UNCORRECTED, CORRUPT = 1 << 61, 1 << 57  # UC and PCC: the processor's context is corrupt


def is_memory_code(code: int) -> bool:
    """Whether the low half of a status speaks of a memory controller.

    >>> is_memory_code(0x0091), is_memory_code(0x0400)
    (True, False)
    """
    return code & 0xEF80 == 0x0080
