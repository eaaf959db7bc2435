"""Triggers that protect rows, shared by several revisions; applied revisions use them, so they must never change."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

from db.audit.triggers import refuse_changes


def keep_as_written(table: str) -> None:
    """Add triggers that refuse to change or delete the rows of a table."""
    for statement in refuse_changes(table, op.get_bind().dialect.name):
        op.execute(statement)


@contextmanager
def change_and_keep_as_written(table: str) -> Iterator[None]:
    """Drop the triggers while a revision changes a table; they are back before the upgrade commits."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    for verb in ("update", "delete", "truncate") if on_postgresql else ("update", "delete"):
        op.execute(f"DROP TRIGGER {table}_no_{verb}" + (f" ON {table}" if on_postgresql else ""))
    yield
    keep_as_written(table)


def one_of(name: str, *values: str) -> sa.Enum:
    """Return the type of a column that holds one of several values."""
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
