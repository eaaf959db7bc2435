"""What a token is for, the requests that are carried out once, and the cases that are open to predictions."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import key, points_at
from db.migrations.protection import keep_as_written, one_of

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add both tables, and a column that stays empty in older tokens: they act for their account as before."""
    with op.batch_alter_table("api_tokens") as batch:
        batch.add_column(sa.Column("scope", one_of("scope", "predict", "cases", "reads"), nullable=True))
    op.create_table(
        "keyed_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.CheckConstraint("(status IS NULL) = (answer IS NULL)", name=op.f("ck_keyed_requests_answered")),
        points_at("keyed_requests", "token_id", "api_tokens"),
        key("keyed_requests"),
        sa.UniqueConstraint("token_id", "key", name=op.f("uq_keyed_requests_token_id_key")),
    )
    op.create_table(
        "prediction_permits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        points_at("prediction_permits", "case_id", "cases"),
        points_at("prediction_permits", "account_id", "accounts"),
        key("prediction_permits"),
        sa.UniqueConstraint("case_id", name=op.f("uq_prediction_permits_case_id")),
    )
    keep_as_written("prediction_permits")


def downgrade() -> None:
    """Refuse: it would forget which cases were open to predictions."""
    raise NotImplementedError("permits are never deleted: restore the backup made before the upgrade instead")
