"""Where each image lies for the network that predicted it, by which similar images are found."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import key, points_at
from db.migrations.protection import keep_as_written

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the table; predictions that were there have no such row."""
    op.create_table(
        "image_embeddings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("prediction_id", sa.Integer(), nullable=False),
        sa.Column("network", sa.String(length=64), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        points_at("image_embeddings", "prediction_id", "predictions"),
        key("image_embeddings"),
        sa.UniqueConstraint("prediction_id", name=op.f("uq_image_embeddings_prediction_id")),
    )
    op.create_index(op.f("ix_image_embeddings_network_id"), "image_embeddings", ["network", "id"])
    keep_as_written("image_embeddings")


def downgrade() -> None:
    """Refuse: it would forget what is sealed with the predictions."""
    raise NotImplementedError("results are never deleted: restore the backup made before the upgrade instead")
