"""Parts of tables that several revisions name alike; applied revisions use them, so they must never change."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op


def key(table: str) -> sa.PrimaryKeyConstraint:
    """Give the primary key of a table."""
    return sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}"))


def points_at(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    """Let a column point at the rows of another table."""
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}_{other}"))


def once(name: str, table: str, columns: Sequence[str], where: str) -> None:
    """Allow one row with the same values among those that meet a condition."""
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=True, sqlite_where=condition, postgresql_where=condition)
