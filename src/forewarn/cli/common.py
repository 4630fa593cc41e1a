"""What the commands share: options, a clock that signals stop, and a line of progress."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from forewarn.clock import RealClock

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
# A file that this user may not read is told by whoever opens it, in a sentence, not by Typer as a wrong option.
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", envvar="FOREWARN_CONFIG", readable=False, help="The configuration, a TOML file."),
]
StateFolder = Annotated[
    Path, typer.Option("--state", envvar="FOREWARN_STATE", readable=False, help="Where everything is kept.")
]
STATE_FOLDER = Path("/var/lib/forewarn")
Reason = Annotated[str, typer.Option("--reason", help="Why; this goes into the audit.")]


@contextmanager
def until_signal() -> Iterator[RealClock]:
    """A real clock that SIGTERM and SIGINT stop: whatever sleeps on it wakes, and ends cleanly."""
    clock = RealClock()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: clock.stop()) for number in signals]
    try:
        yield clock
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """What goes on, on one line of stderr where somebody looks, and as lines of the log where nobody does."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield logging.getLogger(__name__).info
        return
    with console.status("reading") as status:
        yield status.update
