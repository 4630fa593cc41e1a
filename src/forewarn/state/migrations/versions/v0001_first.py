"""The first schema: moves and their steps, leaders, requests, log, ladder, failures."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    _create_moves()
    _create_words()
    _create_observations()


def _create_moves() -> None:
    op.create_table(
        "leaders",
        sa.Column("epoch", sa.Integer, primary_key=True),
        sa.Column("since", sa.DateTime, nullable=False),
    )
    op.create_table(
        "moves",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in ("vm", "source", "target")),
        sa.Column("move", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("intended_at", sa.DateTime, nullable=False),
        sa.Column("started_at", sa.DateTime),
        sa.Column("changed_at", sa.DateTime, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        *(sa.Column(name, sa.Float, nullable=False) for name in ("progress", "duration_s", "downtime_ms")),
        sa.Column("cancel_asked", sa.Text, nullable=False),
    )
    in_flight = sa.text("state IN ('intended', 'running')")
    op.create_index("moves_one_per_vm", "moves", ["vm"], unique=True, sqlite_where=in_flight)
    op.create_index("moves_by_change", "moves", ["changed_at"])
    op.create_index("moves_by_intent", "moves", ["intended_at"])
    op.create_table(
        "steps",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("move", sa.String, sa.ForeignKey("moves.id", ondelete="CASCADE"), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("time", sa.DateTime, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("steps_by_move", "steps", ["move"])


def _create_words() -> None:
    op.create_table(
        "requests",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("made_at", sa.DateTime, nullable=False),
        sa.Column("taken_at", sa.DateTime),
    )
    op.create_table(
        "log",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("time", sa.DateTime, nullable=False),
        sa.Column("severity", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("host", sa.String, nullable=False),
    )


def _create_observations() -> None:
    op.create_table(
        "ladder",
        sa.Column("component", sa.String, primary_key=True),
        sa.Column("rung", sa.String, nullable=False),
        sa.Column("since", sa.DateTime, nullable=False),
        sa.Column("cycles_above", sa.Integer, nullable=False),
        sa.Column("cycles_below", sa.Integer, nullable=False),
    )
    op.create_table(
        "failures",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("time", sa.DateTime, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in ("host", "kind", "component", "source")),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("state", sa.String, nullable=False),
    )
    op.create_index("failures_by_time", "failures", ["time"])
