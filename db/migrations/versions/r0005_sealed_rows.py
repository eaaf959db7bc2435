"""Let events hold the seal of the row they describe, and seal the existing rows."""

import sqlalchemy as sa
from alembic import op

from db.audit.seals import LinkedTable, SealedTable
from db.migrations.sealing import add_seals, compute_existing_seals

revision = "0005"
down_revision = "0004"

_TABLES = (
    SealedTable("reads", (LinkedTable("read_predictions", "read_id"),)),
    SealedTable("predictions"),
    SealedTable("evaluations", (LinkedTable("evaluated_images", "evaluation_id"),)),
    SealedTable("shifts"),
    SealedTable("deployments"),
)


def upgrade() -> None:
    """Add the two columns, then an event at the end of the chain for every row of the sealed tables."""
    with op.batch_alter_table("audit_events") as table:
        table.add_column(sa.Column("content_of", sa.String(length=120), nullable=True))
        table.add_column(sa.Column("content_sha256", sa.String(length=64), nullable=True))
    connection = op.get_bind()
    add_seals(connection, list(compute_existing_seals(connection, _TABLES)))


def downgrade() -> None:
    """Refuse: it would delete the proof of what was said."""
    raise NotImplementedError("the audit trail is never loosened: restore the backup made before the upgrade instead")
