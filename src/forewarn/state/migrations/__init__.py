"""How an older state database becomes today's: one file a step, run by Alembic inside one locked transaction."""
