"""What the worklists show, kept beside the rows from which it is derived; the upgrade fills it: `db.projection`."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import once, points_at

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create the tables, and the indexes with which one case, and what is recent, is found by its key."""
    _worklists()
    _accessions()
    op.create_index(op.f("ix_cases_created_at_id"), "cases", ["created_at", "id"])
    op.create_index(op.f("ix_jobs_state_finished_at"), "jobs", ["state", "finished_at"])
    op.create_index(op.f("ix_reads_account_id_saved_at"), "reads", ["account_id", "saved_at"])
    op.create_index(op.f("ix_consensus_case_id_id"), "consensus", ["case_id", "id"])
    # They held all reads of routine reading, and SQLite looked there for those of one case.
    for name, stage in (("first", "stage = 'first'"), ("final", "stage = 'final' AND supersedes_id IS NULL")):
        op.drop_index(f"uq_reads_place_{name}", "reads")
        once(f"uq_reads_place_{name}", "reads", ["place_id"], f"{stage} AND place_id IS NOT NULL")


def downgrade() -> None:
    """Refuse: an older program would not keep the worklists up to date."""
    raise NotImplementedError("restore the backup made before the upgrade instead")


def _worklists() -> None:
    op.create_table(
        "worklist_cases",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("pile", sa.SmallInteger(), nullable=False),
        sa.Column("uncertainty", sa.Double(), nullable=True),
        sa.Column("concordance", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "case_id", name=op.f("pk_worklist_cases")),
        points_at("worklist_cases", "account_id", "accounts"),
        points_at("worklist_cases", "case_id", "cases"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_worklist_cases_account_id_pile_case_id"), "worklist_cases", ["account_id", "pile", "case_id"]
    )
    for order in ("uncertainty", "concordance"):
        said = sa.text(f"{order} IS NOT NULL")
        op.create_index(
            f"ix_worklist_cases_{order}",
            "worklist_cases",
            ["account_id", order, "case_id"],
            sqlite_where=said,
            postgresql_where=said,
        )
    op.create_table(
        "worklist_piles",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("pile", sa.SmallInteger(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.CheckConstraint("cases >= 0", name=op.f("ck_worklist_piles_cases")),
        sa.PrimaryKeyConstraint("account_id", "pile", name=op.f("pk_worklist_piles")),
        points_at("worklist_piles", "account_id", "accounts"),
        sqlite_with_rowid=False,
    )


def _accessions() -> None:
    op.create_table(
        "case_terms",
        sa.Column("term", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("term", "case_id", name=op.f("pk_case_terms")),
        points_at("case_terms", "case_id", "cases"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "case_sort_keys",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("sort_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_case_sort_keys")),
        points_at("case_sort_keys", "case_id", "cases"),
    )
    op.create_index(op.f("ix_case_sort_keys_sort_key_case_id"), "case_sort_keys", ["sort_key", "case_id"])
