"""The tables of the state database as they are today; `migrations/` says how an older database gets here.

Times are stored in UTC without a zone and come back with one. Tables that only grow are pruned by whoever writes them.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

HEAD = "0001"  # the newest revision in migrations/versions; revisions are numbers of four digits


class UtcTime(TypeDecorator[datetime]):
    """A time with a zone, kept as UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - its interface
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - its interface
        return None if value is None else value.replace(tzinfo=UTC)


METADATA = MetaData()

# The controllers that led here, the newest last. A row of a lower epoch may write no intent any more.
LEADERS = Table(
    "leaders",
    METADATA,
    Column("epoch", Integer, primary_key=True),
    Column("since", UtcTime, nullable=False),
)

# Every move that was ever intended or refused, as it stands now.
MOVES = Table(
    "moves",
    METADATA,
    Column("id", String, primary_key=True),
    Column("plan", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("vm", String, nullable=False),
    Column("source", String, nullable=False),
    Column("target", String, nullable=False),
    Column("move", Text, nullable=False),  # the whole Move, as JSON
    Column("state", String, nullable=False),
    Column("intended_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("changed_at", UtcTime, nullable=False),
    Column("text", Text, nullable=False),
    Column("progress", Float, nullable=False),
    Column("duration_s", Float, nullable=False),
    Column("downtime_ms", Float, nullable=False),
    Column("cancel_asked", Text, nullable=False),  # why its end was asked for; empty: it was not
)
IN_FLIGHT = text("state IN ('intended', 'running')")
Index("moves_one_per_vm", MOVES.c.vm, unique=True, sqlite_where=IN_FLIGHT)
Index("moves_by_change", MOVES.c.changed_at)
Index("moves_by_intent", MOVES.c.intended_at)

# Each step of each move, never changed.
STEPS = Table(
    "steps",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("move", String, ForeignKey("moves.id", ondelete="CASCADE"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("state", String, nullable=False),
    Column("text", Text, nullable=False),
)
Index("steps_by_move", STEPS.c.move)

# What people asked for.
REQUESTS = Table(
    "requests",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("args", Text, nullable=False),  # JSON, texts by name
    Column("who", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("taken_at", UtcTime),
)

# What Forewarn said.
LOG = Table(
    "log",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("time", UtcTime, nullable=False),
    Column("severity", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("host", String, nullable=False),
)

# Where each component stands on the ladder.
LADDER = Table(
    "ladder",
    METADATA,
    Column("component", String, primary_key=True),
    Column("rung", String, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("cycles_above", Integer, nullable=False),
    Column("cycles_below", Integer, nullable=False),
)

# What failed.
FAILURES = Table(
    "failures",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("time", UtcTime, nullable=False),
    Column("host", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("component", String, nullable=False),
    Column("source", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("state", String, nullable=False),
)
Index("failures_by_time", FAILURES.c.time)
