"""What keeps automation in bounds: leases, ledger, grants, breaker, windows, cordons, credentials, audit, alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Give leaders a lease, and create what is new."""
    op.add_column("leaders", sa.Column("holder", sa.String, nullable=False, server_default=""))
    op.add_column("leaders", sa.Column("expires_at", sa.DateTime, nullable=False, server_default="1970-01-01 00:00:00"))
    _create_observations()
    _create_limits()
    _create_people()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String, nullable=False) for name in names]


def _key() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime, nullable=nullable)


def _create_observations() -> None:
    op.create_table(
        "changes",
        _key(),
        _time("time"),
        *_texts("host", "kind", "component"),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
    )
    op.create_index("changes_by_time", "changes", ["time"])
    op.create_table(
        "ledger",
        _key(),
        *_texts("component", "kind", "host", "model"),
        _time("made_at"),
        _time("due_at"),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("threshold", sa.Float, nullable=False),
        *_texts("state"),
        _time("judged_at", nullable=True),
        sa.Column("because", sa.Text, nullable=False),
    )
    op.create_index("ledger_one_open", "ledger", ["component"], unique=True, sqlite_where=sa.text("state = 'open'"))
    op.create_index("ledger_by_due", "ledger", ["due_at"])


def _create_limits() -> None:
    op.create_table(
        "grants",
        _key(),
        *_texts("mode", "aggregate", "kind", "action"),
        _time("granted_at"),
        _time("until", nullable=True),
        sa.Column("overrides", sa.Boolean, nullable=False),
        *_texts("who"),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_table(
        "breaker",
        _key(),
        _time("tripped_at"),
        sa.Column("text", sa.Text, nullable=False),
        _time("cleared_at", nullable=True),
        *_texts("cleared_by"),
        sa.Column("cleared_why", sa.Text, nullable=False),
    )
    op.create_table(
        "windows",
        _key(),
        *_texts("kind", "hosts"),
        _time("starts_at"),
        _time("ends_at"),
        *_texts("source", "key", "who"),
        sa.Column("why", sa.Text, nullable=False),
        _time("ended_at", nullable=True),
    )
    op.create_table(
        "cordons",
        sa.Column("host", sa.String, primary_key=True),
        _time("set_at"),
        _time("expires_at"),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )


def _create_people() -> None:
    op.create_table(
        "credentials",
        _key(),
        *_texts("use", "name", "role"),
        sa.Column("hosts", sa.Text, nullable=False),
        sa.Column("hash", sa.String, nullable=False, unique=True),
        _time("made_at"),
        *_texts("made_by"),
        *(_time(name, nullable=True) for name in ("expires_at", "used_at", "revoked_at")),
    )
    op.create_table(
        "audit",
        _key(),
        _time("time"),
        *_texts("who", "role", "action", "target"),
        sa.Column("why", sa.Text, nullable=False),
        *_texts("result"),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("audit_by_time", "audit", ["time"])
    op.create_table(
        "alerts",
        sa.Column("key", sa.String, primary_key=True),
        _time("started_at"),
        _time("told_at", nullable=True),
        sa.Column("text", sa.Text, nullable=False),
    )
