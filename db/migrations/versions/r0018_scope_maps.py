"""Where an image is unlike the training images: the file of its map."""

import sqlalchemy as sa
from alembic import op

from db.migrations.protection import change_and_keep_as_written

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add a column that stays empty in older rows: their maps were not stored."""
    with change_and_keep_as_written("image_scopes"):
        op.add_column("image_scopes", sa.Column("map_sha256", sa.String(length=64), nullable=True))


def downgrade() -> None:
    """Refuse: it would forget what is sealed with the scopes."""
    raise NotImplementedError("results are never deleted: restore the backup made before the upgrade instead")
