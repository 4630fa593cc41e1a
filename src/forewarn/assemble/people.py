"""Tokens as the command line makes them: straight in the state database, also while the controller runs.

Whoever may write that file is an admin; the audit says which user of the operating system it was.
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
from forewarn.errors import CredentialRefused, StateError
from forewarn.state.audit import Audit, Deed
from forewarn.state.credentials import Credential, Credentials, NewToken
from forewarn.state.database import Database

_ROW_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Registry:
    """The tokens of one state folder, and who asks here."""

    credentials: Credentials
    audit: Audit
    clock: Clock
    who: str

    def add(self, new: NewToken, why: str) -> tuple[Credential, str]:
        """A new token and its secret. Raises CredentialRefused, also without a reason."""
        _check_reason(why)
        made, secret = self.credentials.make_token(new, self.who)
        detail = {"name": made.principal.name, "role": str(new.role), "hosts": " ".join(new.hosts)}
        self._record("token.add", made.id, why, detail)
        return made, secret

    def revoke(self, token: int, why: str) -> Credential:
        """End a token. Raises CredentialRefused if there is none that holds."""
        _check_reason(why)
        ended = self.credentials.revoke(token) if 0 < token <= _ROW_MAX else None
        if ended is None:
            raise CredentialRefused(f"there is no token {token} that still holds: see `forewarn token list`")
        self._record("token.revoke", token, why, {"name": ended.principal.name})
        return ended

    def everything(self) -> list[Credential]:
        """Every token, the newest first."""
        return list(self.credentials.tokens(limit=_ROW_MAX)[0])

    def _record(self, action: str, token: int, why: str, detail: Mapping[str, str]) -> None:
        told = {"by": "command line", **detail}
        self.audit.record(Deed(self.who, Role.ADMIN, action, f"token {token}", why.strip(), detail=told))


@contextmanager
def registry(
    folder: Path, configuration: Path | None, environment: Mapping[str, str], *, create: bool = False
) -> Iterator[Registry]:
    """The tokens kept in `folder`; `create` makes it, since the first token may come before the first start."""
    settings = config.load(UpSettings, configuration, environment).state
    if create:
        _make(folder)
    clock = RealClock()
    database = Database(f"sqlite:///{folder / DATABASE_FILE}", clock, settings.database)
    try:
        credentials = Credentials(database, settings.credentials)
        audit = Audit(database, folder / AUDIT_FILE, settings.audit)
        yield Registry(credentials, audit, clock, f"operator {os_user()} of the OS")
    finally:
        database.close()


def as_dict(token: Credential, clock: Clock) -> dict[str, object]:
    """A token as JSON shows it, under the names of the API."""
    times = {name: getattr(token, name) for name in ("made_at", "expires_at", "used_at", "revoked_at")}
    return {
        "id": token.id,
        "name": token.principal.name,
        "role": str(token.principal.role),
        "hosts": list(token.principal.hosts),
        "state": token.state(clock.now()),
        "made_by": token.made_by,
        **{name: time.isoformat() if time else None for name, time in times.items()},
    }


def agent_lines(secret: str) -> str:
    """What goes into an agent's configuration, with the part that only the site knows left to be filled in."""
    return f'[push]\nurl = "https://FOREWARN:8460/api/v1/write"\ntoken = "{secret}"'


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot make {folder}: {error.strerror}; name another folder with --state") from error


def _check_reason(why: str) -> None:
    if not why.strip():
        raise CredentialRefused("say why with --reason: it goes into the audit")


def os_user() -> str:
    """The user who asks: the process's owner, not what the environment says, which anybody may set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
