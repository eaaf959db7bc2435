"""How unlike its training images a model found each image, and what a reader was shown of it."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import key, once, points_at
from db.migrations.protection import change_and_keep_as_written, keep_as_written, one_of

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add both tables, and a column that stays empty in older reads: no scope was measured then."""
    op.create_table(
        "image_scopes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("demonstration", sa.Boolean(), nullable=False),
        sa.Column("level", one_of("level", "in", "unusual", "out"), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("limit_unusual", sa.Double(), nullable=False),
        sa.Column("limit_out", sa.Double(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("scale_id", sa.Integer(), nullable=True),
        points_at("image_scopes", "job_id", "jobs"),
        points_at("image_scopes", "image_id", "images"),
        points_at("image_scopes", "scale_id", "image_scales"),
        key("image_scopes"),
        sa.UniqueConstraint(
            "image_id", "model_version", "scale_id", name=op.f("uq_image_scopes_image_id_model_version_scale_id")
        ),
    )
    once("uq_image_scopes_without_scale", "image_scopes", ["image_id", "model_version"], "scale_id IS NULL")
    op.create_index(op.f("ix_image_scopes_job_id"), "image_scopes", ["job_id"])
    op.create_table(
        "read_scopes",
        sa.Column("read_id", sa.Integer(), nullable=False),
        sa.Column("scope_id", sa.Integer(), nullable=False),
        points_at("read_scopes", "read_id", "reads"),
        points_at("read_scopes", "scope_id", "image_scopes"),
        sa.PrimaryKeyConstraint("read_id", "scope_id", name=op.f("pk_read_scopes")),
    )
    for table in ("image_scopes", "read_scopes"):
        keep_as_written(table)
    with change_and_keep_as_written("reads"):
        op.add_column("reads", sa.Column("shown_scope", sa.String(length=16), nullable=True))


def downgrade() -> None:
    """Refuse: it would forget that a model gave no opinion."""
    raise NotImplementedError("results are never deleted: restore the backup made before the upgrade instead")
