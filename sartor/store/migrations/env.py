"""Runs migrations on a connection that the opener hands in. Knows no URLs and reads no files."""

from alembic import context

from sartor.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
