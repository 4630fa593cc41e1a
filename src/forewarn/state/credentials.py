"""Whom Forewarn knows: tokens of people, programs and agents, one-time login codes, and sessions of browsers.

A secret is 256 random bits, given out once and kept as its SHA-256 only: so much chance needs no salt and no slow
hash. Whoever reads the database, a backup or a log finds nothing to sign in with.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, func, insert, not_, or_, select, update

from forewarn.domain.people import Principal, Role
from forewarn.errors import CredentialRefused
from forewarn.state.database import Database
from forewarn.state.schema import CREDENTIALS

_C = CREDENTIALS.c


class Use(StrEnum):
    """What a credential is for. Its prefix tells whoever finds a secret what they have found."""

    TOKEN = "token"  # noqa: S105 - the word, no secret
    LOGIN = "login"
    SESSION = "session"


PREFIXES = {Use.TOKEN: "fw_", Use.LOGIN: "fwl_", Use.SESSION: "fws_"}


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """How long credentials hold, and how many there may be."""

    token_days: int = 365
    """Days that a person's or a program's token holds if nobody says otherwise; 0: until it is revoked."""
    agent_token_days: int = 0
    """Likewise of an agent's token; 0, since a host that falls silent on a forgotten day would be missed."""
    token_days_max: int = 3650
    """Most days that may be asked for."""
    tokens_max: int = 100_000
    """Tokens that may hold at once: one per host of the largest cluster."""
    patterns_max: int = 64
    """Patterns of hosts in one agent's token."""
    text_max: int = 200
    """Characters of a name or a pattern: they are shown in lists."""
    login_s: float = 300.0
    """Seconds in which a one-time login address may be used."""
    session_idle_s: float = 28_800.0
    """Seconds without a request after which a browser must sign in again."""
    session_s: float = 604_800.0
    """Seconds after which it must in any case."""
    sessions_max: int = 1000
    """Sessions of browsers at once; beyond it the oldest end."""
    touch_s: float = 60.0
    """Seconds between two notes that a credential is in use, so that reading pages hardly writes."""
    kept_days: float = 90.0
    """Days that an ended credential is still listed."""

    def __post_init__(self) -> None:
        if min(self.login_s, self.session_idle_s, self.session_s) <= 0:
            raise ValueError("login_s, session_idle_s and session_s must be more than 0")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as it is asked for. `days` of None takes the setting's; 0: until it is revoked."""

    name: str
    role: Role
    hosts: tuple[str, ...] = ()
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as it is stored, without its secret."""

    id: int
    use: Use
    principal: Principal
    made_at: datetime
    made_by: str
    expires_at: datetime | None = None
    used_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """Its state: valid, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


class Credentials:
    """Makes, recognises and revokes. No secret that it returns can be asked for again."""

    def __init__(self, database: Database, settings: CredentialSettings | None = None) -> None:
        self._database = database
        self._clock = database.clock
        self.settings = settings or CredentialSettings()

    def make_token(self, new: NewToken, made_by: str) -> tuple[Credential, str]:
        """A new token with its secret. Raises CredentialRefused where it may not be made as asked."""
        days = self._check(new)
        now = self._clock.now()
        expires_at = now + timedelta(days=days) if days else None
        principal = Principal(new.name.strip(), new.role, new.hosts)
        with self._database.write() as connection:
            self._prune(connection, now)
            held = select(func.count()).where(_C.use == Use.TOKEN, *_live(now))
            if connection.execute(held).scalar_one() >= self.settings.tokens_max:
                raise CredentialRefused(f"{self.settings.tokens_max} tokens hold already, which is the limit")
            return _add(connection, Use.TOKEN, principal, now, made_by, expires_at)

    def tokens(self, limit: int = 100, offset: int = 0) -> tuple[tuple[Credential, ...], int]:
        """Tokens, the newest first, ended ones too; and how many there are in all."""
        query = select(CREDENTIALS).where(_C.use == Use.TOKEN)
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).where(_C.use == Use.TOKEN)).scalar_one()
            rows = connection.execute(query.order_by(_C.id.desc()).limit(limit).offset(offset))
            return tuple(_credential(row) for row in rows), total

    def revoke(self, token: int) -> Credential | None:
        """End a token and every session that was opened with it; None if there is no such token that holds."""
        now = self._clock.now()
        with self._database.write() as connection:
            one = (_C.id == token, _C.use == Use.TOKEN, _C.revoked_at.is_(None))
            if connection.execute(update(CREDENTIALS).where(*one).values(revoked_at=now)).rowcount == 0:
                return None
            theirs = (_C.use == Use.SESSION, _C.made_by == _origin(Use.TOKEN, token), _C.revoked_at.is_(None))
            connection.execute(update(CREDENTIALS).where(*theirs).values(revoked_at=now))
            return _credential(connection.execute(select(CREDENTIALS).where(_C.id == token)).one())

    def recognise(self, secret: str, use: Use) -> Credential | None:
        """Whose valid token or session this is. Each use of a session moves its idle end, noted now and then."""
        if not secret.startswith(PREFIXES[use]):
            return None
        now = self._clock.now()
        with self._database.read() as connection:
            row = connection.execute(_valid(secret, use, now)).first()
        if row is None:
            return None
        found = _credential(row)
        since_s = (now - (found.used_at or found.made_at)).total_seconds()
        if use is Use.SESSION and since_s > self.settings.session_idle_s:
            return None
        if found.used_at is None or since_s > min(self.settings.touch_s, self.settings.session_idle_s / 2):
            with self._database.write() as connection:
                connection.execute(update(CREDENTIALS).where(_C.id == found.id).values(used_at=now))
        return found

    def make_login(self, principal: Principal, made_by: str) -> str:
        """A code that opens one session, soon."""
        now = self._clock.now()
        with self._database.write() as connection:
            self._prune(connection, now)
            expires_at = now + timedelta(seconds=self.settings.login_s)
            return _add(connection, Use.LOGIN, principal, now, made_by, expires_at)[1]

    def open_by_login(self, code: str) -> tuple[Credential, str] | None:
        """A session for a login code, which ends with this; None if it was used, is too old or never was one."""
        now = self._clock.now()
        with self._database.write() as connection:  # one writer at a time, so a code opens one session
            row = connection.execute(_valid(code, Use.LOGIN, now).where(_C.used_at.is_(None))).first()
            if row is None:
                return None
            connection.execute(update(CREDENTIALS).where(_C.id == row.id).values(used_at=now))
            return self._open(connection, _credential(row), now)

    def open_by_token(self, secret: str) -> tuple[Credential, str] | None:
        """A session for whoever holds a token that is no agent's; None if the token is not valid."""
        now = self._clock.now()
        with self._database.write() as connection:
            row = connection.execute(_valid(secret, Use.TOKEN, now).where(_C.role != Role.AGENT)).first()
            if row is None:
                return None
            connection.execute(update(CREDENTIALS).where(_C.id == row.id).values(used_at=now))
            return self._open(connection, _credential(row), now)

    def close_session(self, secret: str) -> None:
        """End the session of a browser that signs out."""
        mine = (_C.use == Use.SESSION, _C.hash == _hash(secret), _C.revoked_at.is_(None))
        with self._database.write() as connection:
            connection.execute(update(CREDENTIALS).where(*mine).values(revoked_at=self._clock.now()))

    def any_for_people(self) -> bool:
        """Whether anybody but agents was given a token that is not revoked.

        One that has expired counts: time alone must not open the pages to everybody again.
        """
        theirs = select(_C.id).where(_C.use == Use.TOKEN, _C.role != Role.AGENT, _C.revoked_at.is_(None)).limit(1)
        with self._database.read() as connection:
            return connection.execute(theirs).first() is not None

    def _open(self, connection: Connection, by: Credential, now: datetime) -> tuple[Credential, str]:
        self._prune(connection, now)
        live = select(_C.id).where(_C.use == Use.SESSION, *_live(now)).order_by(_C.id.desc())
        surplus = connection.execute(live.offset(self.settings.sessions_max - 1)).scalars().all()
        if surplus:
            connection.execute(update(CREDENTIALS).where(_C.id.in_(surplus)).values(revoked_at=now))
        ends = now + timedelta(seconds=self.settings.session_s)
        if by.use is Use.TOKEN and by.expires_at is not None:
            ends = min(ends, by.expires_at)
        return _add(connection, Use.SESSION, by.principal, now, _origin(by.use, by.id), ends)

    def _prune(self, connection: Connection, now: datetime) -> None:
        before = now - timedelta(days=self.settings.kept_days)
        closes = and_(_C.use == Use.TOKEN, _C.role != Role.AGENT)  # see `any_for_people`
        old = or_(_C.revoked_at < before, and_(_C.expires_at < before, not_(closes)))
        connection.execute(delete(CREDENTIALS).where(old))

    def _check(self, new: NewToken) -> int:
        """The days that the token shall hold."""
        self._check_text("a token's name", new.name)
        for pattern in new.hosts:
            self._check_text("a pattern of hosts", pattern)
        if (new.role is Role.AGENT) != bool(new.hosts):
            raise CredentialRefused("an agent's token names the hosts for which it speaks, and no other token does")
        if len(new.hosts) > self.settings.patterns_max:
            raise CredentialRefused(f"a token may name at most {self.settings.patterns_max} patterns of hosts")
        usual = self.settings.agent_token_days if new.role is Role.AGENT else self.settings.token_days
        days = usual if new.days is None else new.days
        if not 0 <= days <= self.settings.token_days_max:
            raise CredentialRefused(f"a token may hold for 0 to {self.settings.token_days_max} days, not {days}")
        return days

    def _check_text(self, what: str, text: str) -> None:
        if not text.strip() or not text.isprintable() or len(text) > self.settings.text_max:
            raise CredentialRefused(f"{what} has 1 to {self.settings.text_max} printable characters, not {text[:40]!r}")


def _hash(secret: str) -> str:
    return sha256(secret.encode("utf-8", "replace")).hexdigest()


def _origin(use: Use, number: int) -> str:
    """How a session names what it was opened with."""
    return f"{use} {number}"


def _live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (_C.revoked_at.is_(None), or_(_C.expires_at.is_(None), _C.expires_at > now))


def _valid(secret: str, use: Use, now: datetime) -> Select[tuple[object, ...]]:
    return select(CREDENTIALS).where(_C.hash == _hash(secret), _C.use == use, *_live(now))


def _add(
    connection: Connection, use: Use, principal: Principal, now: datetime, made_by: str, expires_at: datetime | None
) -> tuple[Credential, str]:
    secret = PREFIXES[use] + secrets.token_urlsafe(32)
    values = {
        "use": use,
        "name": principal.name,
        "role": principal.role,
        "hosts": json.dumps(principal.hosts),
        "hash": _hash(secret),
        "made_at": now,
        "made_by": made_by,
        "expires_at": expires_at,
    }
    key = connection.execute(insert(CREDENTIALS).values(**values)).inserted_primary_key
    return Credential(int(key[0]) if key else 0, use, principal, now, made_by, expires_at), secret


def _credential(row: Row[tuple[object, ...]]) -> Credential:
    principal = Principal(row.name, Role(row.role), tuple(json.loads(row.hosts)))
    times = (row.expires_at, row.used_at, row.revoked_at)
    return Credential(row.id, Use(row.use), principal, row.made_at, row.made_by, *times)
