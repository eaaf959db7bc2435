"""Whether a read was informed by others, and the hashes by which an evaluated image is found among the cases."""

import sqlalchemy as sa
from alembic import op

from db.migrations.protection import change_and_keep_as_written

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns, which stay empty in older rows, and indexes: files of images, and reads by case."""
    with change_and_keep_as_written("reads"):
        op.add_column("reads", sa.Column("informed", sa.Boolean(), nullable=True))
    with change_and_keep_as_written("evaluated_images"):
        op.add_column("evaluated_images", sa.Column("source_sha256", sa.String(length=64), nullable=True))
        op.add_column("evaluated_images", sa.Column("file_sha256", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_images_file_sha256"), "images", ["file_sha256"])
    op.create_index(op.f("ix_reads_case_id_account_id"), "reads", ["case_id", "account_id"])


def downgrade() -> None:
    """Refuse: it would forget which reads were informed."""
    raise NotImplementedError("reads are never changed: restore the backup made before the upgrade instead")
