"""What a controller keeps, opened by the command line, also while the controller runs; and who asks there.

Whoever may write the state database is an admin; the audit says which user of the operating system it was.
"""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forewarn import config
from forewarn.assemble.site import AUDIT_FILE, DATABASE_FILE
from forewarn.assemble.up import UpSettings
from forewarn.clock import Clock, RealClock
from forewarn.domain.people import Role
from forewarn.state.audit import Audit, Deed
from forewarn.state.database import Database


@dataclass(frozen=True)
class Kept:
    """The state of one folder, open."""

    settings: UpSettings
    database: Database
    audit: Audit
    clock: Clock
    who: str

    def record(self, action: str, target: str, why: str, detail: Mapping[str, str]) -> None:
        """Write into the audit what was done here."""
        told = {"by": "command line", **detail}
        self.audit.record(Deed(self.who, Role.ADMIN, action, target, why.strip(), detail=told))


@contextmanager
def opened(folder: Path, configuration: Path | None, environment: Mapping[str, str]) -> Iterator[Kept]:
    """The state in `folder`, which must exist. Raises ConfigurationError, StateError and StoreUnavailable."""
    settings = config.load(UpSettings, configuration, environment)
    clock = RealClock()
    database = Database(f"sqlite:///{folder / DATABASE_FILE}", clock, settings.state.database)
    try:
        audit = Audit(database, folder / AUDIT_FILE, settings.state.audit)
        yield Kept(settings, database, audit, clock, f"operator {os_user()} of the OS")
    finally:
        database.close()


def os_user() -> str:
    """The user who asks: the process's owner, not what the environment says, which anybody may set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
