"""Run the revisions on the connection that `db.upgrade` passes, inside its transaction."""

from alembic import context
from sqlalchemy import Connection

from db import tables

connection = context.config.attributes.get("connection")
if not isinstance(connection, Connection):
    raise TypeError("migrations are run by db.upgrade.upgrade, which passes its connection")

# SQLite cannot change a column in place: in batch mode Alembic creates a new table and copies the rows.
context.configure(connection=connection, target_metadata=tables.Base.metadata, render_as_batch=True, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
