"""How cases are counted for the figures of agreement, kept beside the reads: `db.projection`."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import points_at

revision = "0019"
down_revision = "0018"

_NUMBERS = ("by_model", "by_readers", "by_reveal", "by_habits")


def upgrade() -> None:
    """Create the tables, with an index for each way in which readings are compared; the upgrade fills them."""
    op.create_table(
        "compared_cases",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _NUMBERS),
        sa.PrimaryKeyConstraint("case_id", "account_id", name=op.f("pk_compared_cases")),
        points_at("compared_cases", "case_id", "cases"),
        sqlite_with_rowid=False,
    )
    for name in _NUMBERS:
        columns = ["account_id", name, "case_id"]
        op.create_index(op.f(f"ix_compared_cases_{'_'.join(columns)}"), "compared_cases", columns)
    op.create_table(
        "compared_groups",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("comparison", sa.String(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "comparison", "number", name=op.f("pk_compared_groups")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Refuse: an older program would not keep the counts up to date."""
    raise NotImplementedError("restore the backup made before the upgrade instead")
