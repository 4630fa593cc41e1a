"""What Alembic runs: the steps on the connection that `Database` hands over, in that connection's transaction."""

from alembic import context

from forewarn.state.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
