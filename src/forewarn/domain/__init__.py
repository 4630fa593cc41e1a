"""The words of Forewarn as frozen dataclasses: no I/O, no clock, no Arrow, no numpy. Units stand last in each name."""
