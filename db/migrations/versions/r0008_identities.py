"""Identities at OpenID providers that sign in as an account."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import key, once, points_at

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the table; no identity is linked yet, so everyone signs in as before."""
    op.create_table(
        "identities",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("email", sa.String(length=255), nullable=True),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unlinked_at", sa.DateTime(timezone=True), nullable=True),
        key("identities"),
        points_at("identities", "account_id", "accounts"),
        sa.CheckConstraint("subject IS NOT NULL OR email IS NOT NULL", name=op.f("ck_identities_names_somebody")),
    )
    once("uq_identities_subject", "identities", ["issuer", "subject"], "unlinked_at IS NULL")
    once("uq_identities_email", "identities", ["issuer", "email"], "unlinked_at IS NULL")
    op.create_index(op.f("ix_identities_account_id"), "identities", ["account_id"], unique=False)


def downgrade() -> None:
    """Refuse: it would delete who may sign in."""
    raise NotImplementedError("accounts are never deleted: restore the backup made before the upgrade instead")
