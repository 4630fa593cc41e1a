"""The tables of the state database as they are today; `migrations/` says how an older database gets here.

Times are stored in UTC without a zone and come back with one. Tables that only grow are pruned by whoever writes them.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
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

HEAD = "0002"  # the newest revision in migrations/versions; revisions are numbers of four digits


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
    Column("holder", String, nullable=False),  # which process of which machine
    Column("expires_at", UtcTime, nullable=False),  # when its lease ends unless it renews it
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

# What was changed: boots, kernels, firmware, parts, maintenance. None of it is a failure.
CHANGES = Table(
    "changes",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("time", UtcTime, nullable=False),
    Column("host", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("component", String, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
)
Index("changes_by_time", CHANGES.c.time)

# The forecasts that were raised above `watch`, one per part until it is judged, and what became of them.
LEDGER = Table(
    "ledger",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("component", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("host", String, nullable=False),
    Column("model", String, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),  # made_at and the horizon
    Column("probability", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("judged_at", UtcTime),
    Column("because", Text, nullable=False),
)
Index("ledger_one_open", LEDGER.c.component, unique=True, sqlite_where=text("state = 'open'"))
Index("ledger_by_due", LEDGER.c.due_at)

# How far Forewarn may go by itself, by scope; empty texts mean every aggregate, kind or action.
GRANTS = Table(
    "grants",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("mode", String, nullable=False),
    Column("aggregate", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("action", String, nullable=False),
    Column("granted_at", UtcTime, nullable=False),
    Column("until", UtcTime),
    Column("overrides", Boolean, nullable=False),  # whether it holds without evidence of this site
    Column("who", String, nullable=False),
    Column("why", Text, nullable=False),
)

# Each time the breaker tripped; the newest row latches until somebody clears it.
BREAKER = Table(
    "breaker",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("tripped_at", UtcTime, nullable=False),
    Column("text", Text, nullable=False),
    Column("cleared_at", UtcTime),
    Column("cleared_by", String, nullable=False),
    Column("cleared_why", Text, nullable=False),
)

# Times in which hosts are worked on (`maintenance`) or in which nothing moves (`freeze`).
WINDOWS = Table(
    "windows",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("hosts", String, nullable=False),  # a pattern such as `rack1-*`
    Column("starts_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=False),
    Column("source", String, nullable=False),  # api, alertmanager
    Column("key", String, nullable=False),  # what the source calls it
    Column("who", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("ended_at", UtcTime),
)

# The hosts that Forewarn itself keeps from receiving VMs, each for a time that it renews.
CORDONS = Table(
    "cordons",
    METADATA,
    Column("host", String, primary_key=True),
    Column("set_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("why", Text, nullable=False),
)

# Whom Forewarn knows: tokens of programs and agents, one-time logins, and the sessions of browsers. Only hashes.
CREDENTIALS = Table(
    "credentials",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("use", String, nullable=False),  # token, login, session
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("hosts", Text, nullable=False),  # JSON: patterns of the hosts for which an agent speaks
    Column("hash", String, nullable=False, unique=True),
    Column("made_at", UtcTime, nullable=False),
    Column("made_by", String, nullable=False),
    Column("expires_at", UtcTime),
    Column("used_at", UtcTime),
    Column("revoked_at", UtcTime),
)

# Who did what, and why. Rows are never changed.
AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("time", UtcTime, nullable=False),
    Column("who", String, nullable=False),
    Column("role", String, nullable=False),
    Column("action", String, nullable=False),
    Column("target", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("result", String, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
)
Index("audit_by_time", AUDIT.c.time)

# The alerts that are on, so that a restart neither forgets one nor tells it twice.
ALERTS = Table(
    "alerts",
    METADATA,
    Column("key", String, primary_key=True),
    Column("started_at", UtcTime, nullable=False),
    Column("told_at", UtcTime),
    Column("text", Text, nullable=False),
)
