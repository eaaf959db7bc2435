"""The scale of images, microscope profiles, lengths among the regions, and the scale of an analysis."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import key, once, points_at
from db.migrations.protection import change_and_keep_as_written, keep_as_written, one_of

revision = "0012"
down_revision = "0011"

_SOURCES = ("tiff", "imagej", "ome", "aperio", "png", "jpeg", "microscope", "typed", "dataset", "ruler")
_KINDS = ("point", "box", "shape", "line")
_ONE_PREDICTION = "uq_predictions_image_id_model_version"
_ONE_OF_SCALE = f"{_ONE_PREDICTION}_scale_id"


def upgrade() -> None:
    """Create the tables; images that exist have no scale, and their predictions were made without one."""
    _profiles()
    _scales()
    if op.get_bind().dialect.name == "postgresql":
        _widen_on_postgresql()
    else:
        _rebuild_predictions()
        _rebuild_regions()
    for table in ("microscope_profiles", "image_scales"):
        keep_as_written(table)


def downgrade() -> None:
    """Refuse: it would forget with which scale an image was analysed."""
    raise NotImplementedError("predictions are never changed: restore the backup made before the upgrade instead")


def _profiles() -> None:
    op.create_table(
        "microscope_profiles",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("objective", sa.String(length=32), nullable=False),
        sa.Column("um_per_px", sa.Double(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("um_per_px > 0", name=op.f("ck_microscope_profiles_um_per_px")),
        key("microscope_profiles"),
        points_at("microscope_profiles", "account_id", "accounts"),
    )
    columns = ["name", "objective", "id"]
    op.create_index(op.f("ix_microscope_profiles_name_objective_id"), "microscope_profiles", columns)


def _scales() -> None:
    op.create_table(
        "image_scales",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("um_per_px", sa.Double(), nullable=False),
        sa.Column("source", one_of("source", *_SOURCES), nullable=False),
        sa.Column("profile_id", sa.Integer(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("um_per_px > 0", name=op.f("ck_image_scales_um_per_px")),
        sa.CheckConstraint("(source = 'microscope') = (profile_id IS NOT NULL)", name=op.f("ck_image_scales_profile")),
        key("image_scales"),
        points_at("image_scales", "image_id", "images"),
        points_at("image_scales", "profile_id", "microscope_profiles"),
        points_at("image_scales", "account_id", "accounts"),
    )
    op.create_index(op.f("ix_image_scales_image_id_id"), "image_scales", ["image_id", "id"])


def _widen_on_postgresql() -> None:
    with change_and_keep_as_written("predictions"):
        op.add_column("predictions", sa.Column("scale_id", sa.Integer(), nullable=True))
        name = op.f("fk_predictions_scale_id_image_scales")
        op.create_foreign_key(name, "predictions", "image_scales", ["scale_id"], ["id"])
        op.drop_constraint(op.f(_ONE_PREDICTION), "predictions")
        columns = ["image_id", "model_version", "scale_id"]
        op.create_unique_constraint(op.f(_ONE_OF_SCALE), "predictions", columns)
        _index_predictions()
    with change_and_keep_as_written("regions"):
        op.drop_constraint(op.f("ck_regions_kind"), "regions")
        kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
        op.create_check_constraint(op.f("ck_regions_kind"), "regions", f"kind IN ({kinds})")


def _rebuild_predictions() -> None:
    """Rebuild the table: SQLite cannot change a constraint, and Alembic's batch would lose those it cannot see."""
    op.create_table(
        "predictions_new",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("demonstration", sa.Boolean(), nullable=False),
        sa.Column("label_set", sa.String(length=64), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("malignant_classes", sa.JSON(), nullable=False),
        sa.Column("probabilities", sa.JSON(), nullable=False),
        sa.Column("malignant_probability", sa.Double(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("benign_patches", sa.Integer(), nullable=False),
        sa.Column("malignant_patches", sa.Integer(), nullable=False),
        sa.Column("heatmap_sha256", sa.String(length=64), nullable=True),
        sa.Column("heatmap_low", sa.Double(), nullable=True),
        sa.Column("heatmap_high", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("scale_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(heatmap_sha256 IS NULL) = (heatmap_high IS NULL)", name=op.f("ck_predictions_heatmap_high")
        ),
        sa.CheckConstraint("(heatmap_sha256 IS NULL) = (heatmap_low IS NULL)", name=op.f("ck_predictions_heatmap_low")),
        sa.CheckConstraint("malignant_probability BETWEEN 0 AND 1", name=op.f("ck_predictions_probability")),
        key("predictions"),
        points_at("predictions", "image_id", "images"),
        points_at("predictions", "scale_id", "image_scales"),
        sa.UniqueConstraint("image_id", "model_version", "scale_id", name=op.f(_ONE_OF_SCALE)),
    )
    _replace("predictions")
    _index_predictions()
    keep_as_written("predictions")


def _index_predictions() -> None:
    once("uq_predictions_without_scale", "predictions", ["image_id", "model_version"], "scale_id IS NULL")


def _rebuild_regions() -> None:
    op.create_table(
        "regions_new",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("read_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.CheckConstraint(f"kind IN ({', '.join(repr(kind) for kind in _KINDS)})", name=op.f("ck_regions_kind")),
        key("regions"),
        points_at("regions", "read_id", "reads"),
        points_at("regions", "image_id", "images"),
    )
    _replace("regions")
    op.create_index(op.f("ix_regions_read_id"), "regions", ["read_id"])
    keep_as_written("regions")


def _replace(table: str) -> None:
    """Put the new table with all rows in the place of the old one."""
    names = ", ".join(column["name"] for column in sa.inspect(op.get_bind()).get_columns(table))
    op.execute(f"INSERT INTO {table}_new ({names}) SELECT {names} FROM {table}")  # noqa: S608 (our own column names)
    # This drops its triggers and indexes; references to it are by name and remain valid.
    op.drop_table(table)
    op.rename_table(f"{table}_new", table)
