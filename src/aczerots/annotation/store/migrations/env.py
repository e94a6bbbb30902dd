"""Runs migrations inside the transaction that the caller has begun."""

from alembic import context

from aczerots.annotation.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
