"""Triggers that protect rows, shared by several revisions; applied revisions use them, so they must never change."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op


def keep_as_written(table: str) -> None:
    """Add triggers that refuse to change or delete the rows of a table."""
    refuse = _refuse_on_postgresql if op.get_bind().dialect.name == "postgresql" else _refuse_on_sqlite
    refuse(table)


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


def _refuse_on_sqlite(table: str) -> None:
    """Refuse changes; a later batch migration of the table must create these triggers again."""
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are added, never changed'); END"
        )


def _refuse_on_postgresql(table: str) -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'rows of % are added, never changed', TG_TABLE_NAME; END $$"
    )
    for verb, each in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION refuse_change()"
        )
