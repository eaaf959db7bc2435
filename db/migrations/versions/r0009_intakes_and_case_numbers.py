"""Intakes of images, the order of images, the images of a read, and the numbers of cases in comparable form."""

import sqlalchemy as sa
from alembic import op

from core.identifiers import fold_identifier
from db.migrations.parts import key, once, points_at
from db.migrations.protection import keep_as_written

revision = "0009"
down_revision = "0008"

_NEVER_CHANGED = ("intakes", "intake_ends", "image_orders", "read_images")


def upgrade() -> None:
    """Create the tables; cases that exist have no intake, so they are complete, and their reads name no images."""
    _intakes()
    _images()
    _case_numbers()
    for table in _NEVER_CHANGED:
        keep_as_written(table)


def downgrade() -> None:
    """Refuse: it would delete which images a read was given on."""
    raise NotImplementedError("reads are never deleted: restore the backup made before the upgrade instead")


def _intakes() -> None:
    op.create_table(
        "intakes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("images > 0", name=op.f("ck_intakes_images")),
        key("intakes"),
        points_at("intakes", "case_id", "cases"),
        points_at("intakes", "account_id", "accounts"),
    )
    op.create_index(op.f("ix_intakes_case_id"), "intakes", ["case_id"])
    op.create_table(
        "intake_ends",
        sa.Column("intake_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("intake_id", name=op.f("pk_intake_ends")),
        points_at("intake_ends", "intake_id", "intakes"),
        points_at("intake_ends", "account_id", "accounts"),
    )
    op.create_table(
        "intake_images",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("intake_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_intake_images")),
        points_at("intake_images", "image_id", "images"),
        points_at("intake_images", "intake_id", "intakes"),
        sa.UniqueConstraint("intake_id", "position", name=op.f("uq_intake_images_intake_id_position")),
    )


def _images() -> None:
    op.create_table(
        "image_orders",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("images", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        key("image_orders"),
        points_at("image_orders", "case_id", "cases"),
        points_at("image_orders", "account_id", "accounts"),
    )
    op.create_index(op.f("ix_image_orders_case_id_id"), "image_orders", ["case_id", "id"])
    op.create_table(
        "read_images",
        sa.Column("read_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("read_id", "image_id", name=op.f("pk_read_images")),
        points_at("read_images", "read_id", "reads"),
        points_at("read_images", "image_id", "images"),
    )


def _case_numbers() -> None:
    numbers = op.create_table(
        "case_numbers",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_case_numbers")),
        points_at("case_numbers", "case_id", "cases"),
    )
    connection = op.get_bind()
    taken: set[str] = set()
    rows: list[dict[str, object]] = []
    # Not frozen here, because all numbers must be folded alike: who changes the function folds them again.
    for case_id, accession in connection.execute(sa.text("SELECT id, accession FROM cases ORDER BY id")):
        folded = fold_identifier(accession)
        rows.append({"case_id": case_id, "folded": folded, "shared": folded in taken})
        taken.add(folded)
    if rows:
        connection.execute(sa.insert(numbers), rows)
    once("uq_case_numbers_folded", "case_numbers", ["folded"], "NOT shared")
