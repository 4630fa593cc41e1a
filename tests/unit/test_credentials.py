"""Tokens, one-time logins and sessions: given out once, kept as hashes, ended in time."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from forewarn.clock import SimulatedClock
from forewarn.domain.people import Principal, Role
from forewarn.errors import CredentialRefused
from forewarn.state.credentials import Credentials, CredentialSettings, NewToken, Use
from forewarn.state.database import Database
from forewarn.state.schema import CREDENTIALS
from tests.moves import NOW

ANN = NewToken("ann", Role.OPERATOR)
CONSOLE = Principal("console", Role.ADMIN)
DAY_S = 86_400.0


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def database(clock: SimulatedClock) -> Iterator[Database]:
    opened = Database("sqlite://", clock)
    yield opened
    opened.close()


@pytest.fixture
def credentials(database: Database) -> Credentials:
    return Credentials(database)


def test_a_token_is_recognised_as_whom_it_was_made_for(credentials: Credentials) -> None:
    made, secret = credentials.make_token(ANN, "root")
    found = credentials.recognise(secret, Use.TOKEN)
    assert found is not None
    assert (found.id, found.principal, found.made_by) == (made.id, Principal("ann", Role.OPERATOR), "root")
    assert credentials.recognise(secret + "x", Use.TOKEN) is None
    assert credentials.recognise("", Use.TOKEN) is None


def test_each_token_has_256_bits_of_its_own_and_tells_what_it_is(credentials: Credentials) -> None:
    made = {credentials.make_token(ANN, "root")[1] for _ in range(20)}
    assert len(made) == 20
    assert all(secret.startswith("fw_") and len(secret) == 3 + 43 for secret in made)


def test_only_hashes_are_stored(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'state.sqlite'}", SimulatedClock(NOW))
    credentials = Credentials(database)
    secrets = [credentials.make_token(ANN, "root")[1], credentials.make_login(CONSOLE, "up")]
    opened = [credentials.open_by_token(secrets[0]), credentials.open_by_login(secrets[1])]
    secrets += [found[1] for found in opened if found]
    database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert len(secrets) == 4
    assert [secret for secret in secrets if secret[5:].encode() in stored] == []


@pytest.mark.parametrize("use", [Use.LOGIN, Use.SESSION])
def test_a_secret_is_good_for_its_own_use_only(credentials: Credentials, database: Database, use: Use) -> None:
    _, secret = credentials.make_token(ANN, "root")
    assert credentials.recognise(secret, use) is None
    assert credentials.open_by_login(secret) is None
    with database.write() as connection:
        connection.execute(update(CREDENTIALS).values(use=use))
    assert credentials.recognise(secret, Use.TOKEN) is None


def test_a_token_ends_on_its_day(credentials: Credentials, clock: SimulatedClock) -> None:
    made, secret = credentials.make_token(replace(ANN, days=2), "root")
    assert made.expires_at == NOW + timedelta(days=2)
    clock.sleep(2 * DAY_S - 1)
    assert credentials.recognise(secret, Use.TOKEN)
    clock.sleep(1)
    assert credentials.recognise(secret, Use.TOKEN) is None
    assert credentials.open_by_token(secret) is None
    assert [token.state(clock.now()) for token in credentials.tokens()[0]] == ["expired"]


def test_people_get_a_year_and_agents_hold_until_they_are_revoked(credentials: Credentials) -> None:
    ann, _ = credentials.make_token(ANN, "root")
    agent, _ = credentials.make_token(NewToken("a", Role.AGENT, ("h1",)), "root")
    assert (ann.expires_at, agent.expires_at) == (NOW + timedelta(days=365), None)
    assert credentials.make_token(replace(ANN, days=0), "root")[0].expires_at is None


def test_a_revoked_token_ends_at_once_with_the_sessions_that_it_opened(credentials: Credentials) -> None:
    made, secret = credentials.make_token(ANN, "root")
    _, other = credentials.make_token(ANN, "root")
    mine, theirs = credentials.open_by_token(secret), credentials.open_by_token(other)
    assert mine
    assert theirs
    ended = credentials.revoke(made.id)
    assert ended is not None
    assert ended.state(NOW) == "revoked"
    assert credentials.recognise(secret, Use.TOKEN) is None
    assert credentials.recognise(mine[1], Use.SESSION) is None
    assert credentials.recognise(theirs[1], Use.SESSION)
    assert credentials.revoke(made.id) is None
    assert credentials.revoke(4711) is None


def test_sessions_and_logins_are_neither_listed_nor_revoked_as_tokens(credentials: Credentials) -> None:
    opened = credentials.open_by_login(credentials.make_login(CONSOLE, "up"))
    assert opened
    assert credentials.tokens() == ((), 0)
    assert credentials.revoke(opened[0].id) is None


def test_tokens_are_listed_in_pages_the_newest_first(credentials: Credentials) -> None:
    for number in range(5):
        credentials.make_token(NewToken(f"t{number}", Role.VIEWER), "root")
    page, total = credentials.tokens(limit=2, offset=1)
    assert ([token.principal.name for token in page], total) == (["t3", "t2"], 5)


def test_a_login_code_opens_one_session(credentials: Credentials) -> None:
    code = credentials.make_login(CONSOLE, "up")
    opened = credentials.open_by_login(code)
    assert opened
    assert opened[0].principal == CONSOLE
    found = credentials.recognise(opened[1], Use.SESSION)
    assert found is not None
    assert found.principal == CONSOLE
    assert credentials.open_by_login(code) is None


def test_a_login_code_grows_old_within_minutes(credentials: Credentials, clock: SimulatedClock) -> None:
    code = credentials.make_login(CONSOLE, "up")
    clock.sleep(300)
    assert credentials.open_by_login(code) is None


def test_of_many_who_use_a_login_code_at_once_one_gets_in(tmp_path: Path) -> None:
    databases = [Database(f"sqlite:///{tmp_path / 'state.sqlite'}") for _ in range(4)]
    code = Credentials(databases[0]).make_login(CONSOLE, "up")
    opened: list[object] = []

    def enter(database: Database) -> None:
        opened.append(Credentials(database).open_by_login(code))

    threads = [threading.Thread(target=enter, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    assert [found is None for found in opened].count(False) == 1


def test_a_session_ends_when_nobody_uses_it(credentials: Credentials, clock: SimulatedClock) -> None:
    opened = credentials.open_by_login(credentials.make_login(CONSOLE, "up"))
    assert opened
    for _ in range(5):
        clock.sleep(28_000)
        assert credentials.recognise(opened[1], Use.SESSION)
    clock.sleep(28_801)
    assert credentials.recognise(opened[1], Use.SESSION) is None


def test_a_session_ends_in_any_case(credentials: Credentials, clock: SimulatedClock) -> None:
    opened = credentials.open_by_login(credentials.make_login(CONSOLE, "up"))
    assert opened
    for _ in range(27):
        clock.sleep(21_600)
        assert credentials.recognise(opened[1], Use.SESSION)
    clock.sleep(21_600)
    assert credentials.recognise(opened[1], Use.SESSION) is None


def test_a_session_ends_no_later_than_its_token(credentials: Credentials) -> None:
    _, secret = credentials.make_token(replace(ANN, days=1), "root")
    opened = credentials.open_by_token(secret)
    assert opened
    assert opened[0].expires_at == NOW + timedelta(days=1)


def test_a_session_ends_by_signing_out(credentials: Credentials) -> None:
    opened = credentials.open_by_login(credentials.make_login(CONSOLE, "up"))
    assert opened
    credentials.close_session(opened[1])
    assert credentials.recognise(opened[1], Use.SESSION) is None


def test_beyond_the_limit_the_oldest_session_ends(database: Database) -> None:
    credentials = Credentials(database, CredentialSettings(sessions_max=2))
    _, secret = credentials.make_token(ANN, "root")
    opened = [credentials.open_by_token(secret) for _ in range(3)]
    held = [credentials.recognise(found[1], Use.SESSION) is not None for found in opened if found]
    assert held == [False, True, True]


def test_reading_pages_hardly_writes(credentials: Credentials, clock: SimulatedClock) -> None:
    _, secret = credentials.make_token(ANN, "root")
    used = []
    for _ in range(4):
        credentials.recognise(secret, Use.TOKEN)
        used.append(credentials.tokens()[0][0].used_at)
        clock.sleep(25)
    assert used == [NOW, NOW, NOW, NOW + timedelta(seconds=75)]


def test_agents_cannot_sign_in_to_pages(credentials: Credentials) -> None:
    _, secret = credentials.make_token(NewToken("a", Role.AGENT, ("rack1-*",)), "root")
    assert credentials.open_by_token(secret) is None
    found = credentials.recognise(secret, Use.TOKEN)
    assert found is not None
    assert found.principal.speaks_for("rack1-07")
    assert not found.principal.speaks_for("rack2-07")


def test_time_alone_never_makes_people_unknown_again(credentials: Credentials, clock: SimulatedClock) -> None:
    assert not credentials.any_for_people()
    credentials.make_token(NewToken("a", Role.AGENT, ("h1",)), "root")
    credentials.make_login(CONSOLE, "up")
    assert not credentials.any_for_people()
    made, _ = credentials.make_token(replace(ANN, days=1), "root")
    clock.sleep(400 * DAY_S)
    credentials.make_login(CONSOLE, "up")
    assert credentials.any_for_people()
    credentials.revoke(made.id)
    assert not credentials.any_for_people()


def test_what_has_ended_long_ago_is_forgotten(
    credentials: Credentials, database: Database, clock: SimulatedClock
) -> None:
    credentials.open_by_login(credentials.make_login(CONSOLE, "up"))
    made, _ = credentials.make_token(ANN, "root")
    credentials.revoke(made.id)
    clock.sleep(98 * DAY_S)
    kept, _ = credentials.make_token(ANN, "root")
    with database.read() as connection:
        assert connection.execute(select(CREDENTIALS.c.id)).scalars().all() == [kept.id]


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (NewToken(" ", Role.VIEWER), "name has 1 to 200"),
        (NewToken("x" * 201, Role.VIEWER), "name has 1 to 200"),
        (NewToken("a\nb", Role.VIEWER), "printable"),
        (NewToken("a", Role.AGENT), "names the hosts"),
        (NewToken("a", Role.VIEWER, ("h1",)), "names the hosts"),
        (NewToken("a", Role.AGENT, ("",)), "pattern of hosts has"),
        (NewToken("a", Role.AGENT, ("h",) * 65), "at most 64 patterns"),
        (NewToken("a", Role.VIEWER, days=-1), "0 to 3650 days"),
        (NewToken("a", Role.VIEWER, days=3651), "0 to 3650 days"),
    ],
)
def test_a_token_of_no_sense_is_refused(credentials: Credentials, new: NewToken, said: str) -> None:
    with pytest.raises(CredentialRefused, match=said):
        credentials.make_token(new, "root")
    assert credentials.tokens() == ((), 0)


def test_only_so_many_tokens_hold_at_once(database: Database) -> None:
    credentials = Credentials(database, CredentialSettings(tokens_max=2))
    made = [credentials.make_token(ANN, "root")[0] for _ in range(2)]
    with pytest.raises(CredentialRefused, match="which is the limit"):
        credentials.make_token(ANN, "root")
    credentials.revoke(made[0].id)
    assert credentials.make_token(ANN, "root")


def test_a_login_that_is_over_at_once_is_refused_as_a_setting() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        CredentialSettings(login_s=0)


def test_patterns_are_kept_as_they_were_given(credentials: Credentials, database: Database) -> None:
    credentials.make_token(NewToken("a", Role.AGENT, ("rack1-*", "h2")), "root")
    with database.read() as connection:
        assert json.loads(connection.execute(select(CREDENTIALS.c.hosts)).scalar_one()) == ["rack1-*", "h2"]
