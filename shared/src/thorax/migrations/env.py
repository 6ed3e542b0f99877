"""Alembic's entry: one connection, one transaction, one migration at a time."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from thorax import schema

MIGRATION_LOCK = 7_406_113  # any number, the same for all who migrate

engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
with engine.begin() as connection:
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    context.configure(connection=connection, transaction_per_migration=False)
    if context.get_context().get_current_revision():
        schema.require_known(*connection.execute(text(schema.FOUND)).one())
    context.run_migrations()
    connection.execute(text(f"comment on table alembic_version is '{schema.fingerprint(schema.NEWEST)}'"))
engine.dispose()
