"""Parts of tables shared by several revisions; applied revisions use them, so they must never change."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op


def key(table: str) -> sa.PrimaryKeyConstraint:
    """Return the primary key of a table."""
    return sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}"))


def points_at(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    """Return a foreign key from a column to the rows of another table."""
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}_{other}"))


def once(name: str, table: str, columns: Sequence[str], where: str) -> None:
    """Create an index that makes values unique among the rows that meet a condition."""
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=True, sqlite_where=condition, postgresql_where=condition)
