"""Tokens as the command line makes them: straight in the state database, also while the controller runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forewarn.assemble.kept import Kept, opened
from forewarn.clock import Clock
from forewarn.errors import CredentialRefused, StateError
from forewarn.state.credentials import Credential, Credentials, NewToken

_ROW_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Registry:
    """The tokens of one state folder, and who asks here."""

    credentials: Credentials
    kept: Kept

    @property
    def clock(self) -> Clock:
        return self.kept.clock

    def add(self, new: NewToken, why: str) -> tuple[Credential, str]:
        """A new token and its secret. Raises CredentialRefused, also without a reason."""
        _check_reason(why)
        made, secret = self.credentials.make_token(new, self.kept.who)
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
        self.kept.record(action, f"token {token}", why, detail)


@contextmanager
def registry(
    folder: Path, configuration: Path | None, environment: Mapping[str, str], *, create: bool = False
) -> Iterator[Registry]:
    """The tokens kept in `folder`; `create` makes it, since the first token may come before the first start."""
    if create:
        _make(folder)
    with opened(folder, configuration, environment) as kept:
        yield Registry(Credentials(kept.database, kept.settings.state.credentials), kept)


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
