"""The tables of training and evaluation; rows of evaluations and deployments never change."""

import sqlalchemy as sa
from alembic import op

from db.migrations.protection import keep_as_written, one_of

revision = "0002"
down_revision = "0001"

_NEVER_CHANGED = ("evaluations", "evaluated_images", "shifts", "deployments")


def upgrade() -> None:
    """Create the tables, then the triggers."""
    _runs()
    _evaluations()
    _evaluated_images()
    _shifts()
    _deployments()
    for table in _NEVER_CHANGED:
        keep_as_written(table)


def downgrade() -> None:
    """Refuse: it would delete evaluations and deployments."""
    raise NotImplementedError("evaluations are never deleted: restore the backup made before the upgrade instead")


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("folder", sa.String(length=1000), nullable=False),
        sa.Column("state", one_of("state", "running", "finished", "failed"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("history", sa.Text(), nullable=True),
        sa.Column("checkpoint_sha256", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("folder", name=op.f("uq_runs_folder")),
    )


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=200), nullable=False),
        sa.Column("split", sa.String(length=64), nullable=False),
        sa.Column("folder", sa.String(length=1000), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
    )


def _evaluated_images() -> None:
    op.create_table(
        "evaluated_images",
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=1000), nullable=False),
        sa.Column("patient_id", sa.String(length=200), nullable=False),
        sa.Column("magnification", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("predicted", sa.String(length=64), nullable=False),
        sa.Column("malignant", sa.Boolean(), nullable=False),
        sa.Column("called_malignant", sa.Boolean(), nullable=False),
        sa.Column("malignant_probability", sa.Double(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("probabilities", sa.JSON(), nullable=False),
        sa.Column("preview_sha256", sa.String(length=64), nullable=True),
        sa.Column("heatmap_sha256", sa.String(length=64), nullable=True),
        sa.CheckConstraint("malignant_probability BETWEEN 0 AND 1", name=op.f("ck_evaluated_images_probability")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_evaluated_images_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "position", name=op.f("pk_evaluated_images")),
    )
    op.create_index(
        op.f("ix_evaluated_images_evaluation_id_malignant_called_malignant"),
        "evaluated_images",
        ["evaluation_id", "malignant", "called_malignant"],
        unique=False,
    )
    op.create_index(
        op.f("ix_evaluated_images_evaluation_id_label_predicted"),
        "evaluated_images",
        ["evaluation_id", "label", "predicted"],
        unique=False,
    )


def _shifts() -> None:
    op.create_table(
        "shifts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shifts")),
    )


def _deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("path", sa.String(length=1000), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_deployments_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
    )
