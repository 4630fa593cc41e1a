"""What the commands share: options, a clock that signals stop, and a line of progress."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

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
def progress() -> Iterator[Callable[[str], None]]:
    """What goes on, on one line of stderr where somebody looks, and as lines of the log where nobody does."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield logging.getLogger(__name__).info
        return
    with console.status("reading") as status:
        yield status.update
