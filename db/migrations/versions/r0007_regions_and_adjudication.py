"""Regions marked by readers, consensus of adjudicators, and signed versions of a case."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import key, once, points_at
from db.migrations.protection import keep_as_written, one_of

revision = "0007"
down_revision = "0006"

_NEVER_CHANGED = ("regions", "consensus", "consensus_reads", "sign_offs")


def upgrade() -> None:
    """Create the tables; their rows never change."""
    _regions()
    _adjudication()
    _sign_offs()
    for table in _NEVER_CHANGED:
        keep_as_written(table)


def downgrade() -> None:
    """Refuse: it would delete reads."""
    raise NotImplementedError("reads are never deleted: restore the backup made before the upgrade instead")


def _regions() -> None:
    op.create_table(
        "regions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("read_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("kind", one_of("kind", "point", "box", "shape"), nullable=False),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        key("regions"),
        points_at("regions", "read_id", "reads"),
        points_at("regions", "image_id", "images"),
    )
    op.create_index(op.f("ix_regions_read_id"), "regions", ["read_id"])


def _adjudication() -> None:
    op.create_table(
        "consensus",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("blind_read_id", sa.Integer(), nullable=False),
        sa.Column("label", one_of("label", "benign", "malignant"), nullable=True),
        sa.Column("confidence", sa.Integer(), nullable=True),
        sa.Column("subtype", sa.String(length=64), nullable=True),
        sa.Column("severity", one_of("severity", "none", "minor", "major"), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("supersedes_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("(label IS NULL) = (confidence IS NULL)", name=op.f("ck_consensus_label_with_confidence")),
        sa.CheckConstraint("confidence BETWEEN 1 AND 5", name=op.f("ck_consensus_confidence")),
        key("consensus"),
        points_at("consensus", "case_id", "cases"),
        points_at("consensus", "account_id", "accounts"),
        points_at("consensus", "blind_read_id", "reads"),
        points_at("consensus", "supersedes_id", "consensus"),
        sa.UniqueConstraint("supersedes_id", name=op.f("uq_consensus_supersedes_id")),
    )
    once("uq_consensus_first", "consensus", ["case_id"], "supersedes_id IS NULL")
    op.create_table(
        "consensus_reads",
        sa.Column("consensus_id", sa.Integer(), nullable=False),
        sa.Column("read_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("consensus_id", "read_id", name=op.f("pk_consensus_reads")),
        points_at("consensus_reads", "consensus_id", "consensus"),
        points_at("consensus_reads", "read_id", "reads"),
    )


def _sign_offs() -> None:
    op.create_table(
        "sign_offs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("label", one_of("label", "benign", "malignant"), nullable=True),
        sa.Column("subtype", sa.String(length=64), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("consensus_id", sa.Integer(), nullable=True),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("version >= 1 AND (version = 1) = (why = '')", name=op.f("ck_sign_offs_amendment_says_why")),
        key("sign_offs"),
        points_at("sign_offs", "case_id", "cases"),
        points_at("sign_offs", "account_id", "accounts"),
        points_at("sign_offs", "consensus_id", "consensus"),
        sa.UniqueConstraint("case_id", "version", name=op.f("uq_sign_offs_case_id_version")),
    )
