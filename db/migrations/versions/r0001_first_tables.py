"""The first tables, and the triggers that keep reads, predictions and audit events as they were written."""

import sqlalchemy as sa
from alembic import op

from db.migrations.protection import keep_as_written, one_of

revision = "0001"
down_revision = None

_NEVER_CHANGED = ("predictions", "reads", "read_predictions", "audit_events")


def upgrade() -> None:
    """Create every table, then the triggers."""
    _accounts()
    _cases()
    _images()
    _predictions()
    _jobs()
    _reads()
    _read_predictions()
    _audit_events()
    for table in _NEVER_CHANGED:
        keep_as_written(table)


def downgrade() -> None:
    """Refuse: it would delete reads."""
    raise NotImplementedError("reads are never deleted: restore the backup made before the upgrade instead")


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", one_of("role", "reader", "adjudicator", "researcher", "administrator"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )


def _cases() -> None:
    op.create_table(
        "cases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("accession", sa.String(length=64), nullable=False),
        sa.Column("automatic_number", sa.Integer(), nullable=True),
        sa.Column("magnification", sa.String(length=32), nullable=True),
        sa.Column("demonstration", sa.Boolean(), nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["accounts.id"], name=op.f("fk_cases_created_by_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
        sa.UniqueConstraint("accession", name=op.f("uq_cases_accession")),
        sa.UniqueConstraint("automatic_number", name=op.f("uq_cases_automatic_number")),
    )
    op.create_index(op.f("ix_cases_created_by_id_id"), "cases", ["created_by_id", "id"], unique=False)


def _images() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("source_sha256", sa.String(length=64), nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("sharpness", sa.Double(), nullable=False),
        sa.Column("tissue_fraction", sa.Double(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("height > 0 AND width > 0", name=op.f("ck_images_size")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_images_case_id_cases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("case_id", "position", name=op.f("uq_images_case_id_position")),
        sa.UniqueConstraint("source_sha256", name=op.f("uq_images_source_sha256")),
    )


def _predictions() -> None:
    op.create_table(
        "predictions",
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
        sa.CheckConstraint(
            "(heatmap_sha256 IS NULL) = (heatmap_high IS NULL)", name=op.f("ck_predictions_heatmap_high")
        ),
        sa.CheckConstraint("(heatmap_sha256 IS NULL) = (heatmap_low IS NULL)", name=op.f("ck_predictions_heatmap_low")),
        sa.CheckConstraint("malignant_probability BETWEEN 0 AND 1", name=op.f("ck_predictions_probability")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_predictions_image_id_images")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
        sa.UniqueConstraint("image_id", "model_version", name=op.f("uq_predictions_image_id_model_version")),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("state", one_of("state", "queued", "running", "done", "failed"), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_jobs_image_id_images")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("image_id", name=op.f("uq_jobs_image_id")),
    )
    op.create_index(op.f("ix_jobs_state_attempts_id"), "jobs", ["state", "attempts", "id"], unique=False)


def _reads() -> None:
    op.create_table(
        "reads",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("stage", one_of("stage", "first", "final"), nullable=False),
        sa.Column("label", one_of("label", "benign", "malignant"), nullable=True),
        sa.Column("confidence", sa.Integer(), nullable=True),
        sa.Column("subtype", sa.String(length=64), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("vote", one_of("vote", "yes", "no", "unsure"), nullable=True),
        sa.Column("model_visible", sa.Boolean(), nullable=False),
        sa.Column("shown_probability", sa.Double(), nullable=True),
        sa.Column("shown_threshold", sa.Double(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("supersedes_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "stage = 'final' OR (supersedes_id IS NULL AND NOT model_visible)", name=op.f("ck_reads_first_is_blind")
        ),
        sa.CheckConstraint("(label IS NULL) = (confidence IS NULL)", name=op.f("ck_reads_label_with_confidence")),
        sa.CheckConstraint("confidence BETWEEN 1 AND 5", name=op.f("ck_reads_confidence")),
        sa.CheckConstraint("model_visible = (shown_probability IS NOT NULL)", name=op.f("ck_reads_shown_probability")),
        sa.CheckConstraint("model_visible = (shown_threshold IS NOT NULL)", name=op.f("ck_reads_shown_threshold")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_reads_account_id_accounts")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_reads_case_id_cases")),
        sa.ForeignKeyConstraint(["supersedes_id"], ["reads.id"], name=op.f("fk_reads_supersedes_id_reads")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reads")),
        sa.UniqueConstraint("supersedes_id", name=op.f("uq_reads_supersedes_id")),
    )
    op.create_index(
        op.f("ix_reads_account_id_case_id_stage"), "reads", ["account_id", "case_id", "stage"], unique=False
    )
    op.create_index(
        "uq_reads_final",
        "reads",
        ["case_id", "account_id"],
        unique=True,
        sqlite_where=sa.text("stage = 'final' AND supersedes_id IS NULL"),
        postgresql_where=sa.text("stage = 'final' AND supersedes_id IS NULL"),
    )
    op.create_index(
        "uq_reads_first",
        "reads",
        ["case_id", "account_id"],
        unique=True,
        sqlite_where=sa.text("stage = 'first'"),
        postgresql_where=sa.text("stage = 'first'"),
    )


def _read_predictions() -> None:
    op.create_table(
        "read_predictions",
        sa.Column("read_id", sa.Integer(), nullable=False),
        sa.Column("prediction_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["prediction_id"], ["predictions.id"], name=op.f("fk_read_predictions_prediction_id_predictions")
        ),
        sa.ForeignKeyConstraint(["read_id"], ["reads.id"], name=op.f("fk_read_predictions_read_id_reads")),
        sa.PrimaryKeyConstraint("read_id", "prediction_id", name=op.f("pk_read_predictions")),
    )


def _audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_audit_events_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_account_id_id"), "audit_events", ["account_id", "id"], unique=False)
    op.create_index(op.f("ix_audit_events_subject_id"), "audit_events", ["subject", "id"], unique=False)
