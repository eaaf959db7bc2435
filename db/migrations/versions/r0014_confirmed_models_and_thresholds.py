"""Who has confirmed the page that explains a model, and which of the thresholds of a model a site uses."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import key, points_at
from db.migrations.protection import keep_as_written, one_of

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "model_confirmations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        points_at("model_confirmations", "account_id", "accounts"),
        key("model_confirmations"),
        sa.UniqueConstraint(
            "account_id", "model_version", name=op.f("uq_model_confirmations_account_id_model_version")
        ),
    )
    op.create_table(
        "site_thresholds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("aim", one_of("aim", "balance", "sensitivity"), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.CheckConstraint("value > 0 AND value < 1", name=op.f("ck_site_thresholds_value")),
        points_at("site_thresholds", "account_id", "accounts"),
        key("site_thresholds"),
    )
    op.create_index(op.f("ix_site_thresholds_model_version_id"), "site_thresholds", ["model_version", "id"])
    for table in ("model_confirmations", "site_thresholds"):
        keep_as_written(table)


def downgrade() -> None:
    """Refuse: it would forget what readers were told."""
    raise NotImplementedError("confirmations are never deleted: restore the backup made before the upgrade instead")
