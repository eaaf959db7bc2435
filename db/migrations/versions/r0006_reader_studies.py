"""Studies, assignments and claims; a read may belong to a study, or withdraw another one."""

import sqlalchemy as sa
from alembic import op

from db.migrations.parts import key, once, points_at
from db.migrations.protection import change_and_keep_as_written, keep_as_written, one_of

revision = "0006"
down_revision = "0005"

_NEVER_CHANGED = ("study_places", "assignments", "priorities")

_NEW_CHECKS = (
    ("ck_reads_stage", "stage IN ('first', 'final', 'withdrawn')"),
    ("ck_reads_first_is_blind", "stage = 'final' OR NOT model_visible"),
    ("ck_reads_first_replaces_nothing", "stage <> 'first' OR supersedes_id IS NULL"),
    ("ck_reads_withdrawn", "stage <> 'withdrawn' OR (supersedes_id IS NOT NULL AND label IS NULL)"),
)
_KEPT_CHECKS = (
    ("ck_reads_label", "label IN ('benign', 'malignant')"),
    ("ck_reads_vote", "vote IN ('yes', 'no', 'unsure')"),
    ("ck_reads_label_with_confidence", "(label IS NULL) = (confidence IS NULL)"),
    ("ck_reads_confidence", "confidence BETWEEN 1 AND 5"),
    ("ck_reads_shown_probability", "model_visible = (shown_probability IS NOT NULL)"),
    ("ck_reads_shown_threshold", "model_visible = (shown_threshold IS NOT NULL)"),
)
_OLD_INDEXES = ("uq_reads_first", "uq_reads_final", "ix_reads_account_id_case_id_stage")


def upgrade() -> None:
    """Create the new tables, then extend `reads`."""
    _studies()
    _worklist()
    if op.get_bind().dialect.name == "postgresql":
        _widen_reads_on_postgresql()
    else:
        _widen_reads_on_sqlite()
    for table in _NEVER_CHANGED:
        keep_as_written(table)


def downgrade() -> None:
    """Refuse: it would delete reads."""
    raise NotImplementedError("reads are never deleted: restore the backup made before the upgrade instead")


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("washout_days", sa.Double(), nullable=False),
        sa.Column("counterbalanced", sa.Boolean(), nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("washout_days >= 0", name=op.f("ck_studies_washout")),
        key("studies"),
        points_at("studies", "created_by_id", "accounts"),
        sa.UniqueConstraint("name", name=op.f("uq_studies_name")),
    )
    op.create_table(
        "study_places",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("arm", one_of("arm", "unaided", "blind first", "model first"), nullable=False),
        sa.Column("iteration", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        key("study_places"),
        points_at("study_places", "study_id", "studies"),
        points_at("study_places", "account_id", "accounts"),
        points_at("study_places", "case_id", "cases"),
        sa.UniqueConstraint("study_id", "account_id", "round", "position", name="uq_study_places_order"),
        sa.UniqueConstraint("study_id", "account_id", "round", "case_id", name="uq_study_places_case"),
    )
    op.create_index(op.f("ix_study_places_account_id_case_id"), "study_places", ["account_id", "case_id"])


def _worklist() -> None:
    op.create_table(
        "assignments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        key("assignments"),
        points_at("assignments", "case_id", "cases"),
        points_at("assignments", "account_id", "accounts"),
        points_at("assignments", "by_id", "accounts"),
    )
    op.create_index(op.f("ix_assignments_case_id_account_id_id"), "assignments", ["case_id", "account_id", "id"])
    op.create_table(
        "priorities",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        key("priorities"),
        points_at("priorities", "case_id", "cases"),
        points_at("priorities", "by_id", "accounts"),
    )
    op.create_index(op.f("ix_priorities_case_id_id"), "priorities", ["case_id", "id"])
    op.create_table(
        "claims",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_claims")),
        points_at("claims", "account_id", "accounts"),
        points_at("claims", "case_id", "cases"),
    )
    op.create_index(op.f("ix_claims_case_id"), "claims", ["case_id"])


def _widen_reads_on_postgresql() -> None:
    with change_and_keep_as_written("reads"):
        op.add_column("reads", sa.Column("place_id", sa.Integer(), nullable=True))
        op.add_column("reads", sa.Column("edit_seconds", sa.Double(), nullable=True))
        op.create_foreign_key(op.f("fk_reads_place_id_study_places"), "reads", "study_places", ["place_id"], ["id"])
        for name in ("stage", "first_is_blind"):
            op.drop_constraint(op.f(f"ck_reads_{name}"), "reads")
        for name, check in _NEW_CHECKS:
            op.create_check_constraint(op.f(name), "reads", check)
        for name in _OLD_INDEXES:
            op.drop_index(name, "reads")
        _index_reads()


def _widen_reads_on_sqlite() -> None:
    """Rebuild the table: SQLite cannot change a check, and Alembic's batch would lose those it cannot see."""
    columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns("reads")]
    op.create_table(
        "reads_new",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=True),
        sa.Column("confidence", sa.Integer(), nullable=True),
        sa.Column("subtype", sa.String(length=64), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("vote", sa.String(length=16), nullable=True),
        sa.Column("model_visible", sa.Boolean(), nullable=False),
        sa.Column("shown_probability", sa.Double(), nullable=True),
        sa.Column("shown_threshold", sa.Double(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("supersedes_id", sa.Integer(), nullable=True),
        sa.Column("place_id", sa.Integer(), nullable=True),
        sa.Column("edit_seconds", sa.Double(), nullable=True),
        *(sa.CheckConstraint(check, name=op.f(name)) for name, check in (*_NEW_CHECKS, *_KEPT_CHECKS)),
        key("reads"),
        points_at("reads", "account_id", "accounts"),
        points_at("reads", "case_id", "cases"),
        points_at("reads", "supersedes_id", "reads"),
        points_at("reads", "place_id", "study_places"),
        sa.UniqueConstraint("supersedes_id", name=op.f("uq_reads_supersedes_id")),
    )
    names = ", ".join(columns)
    op.execute(f"INSERT INTO reads_new ({names}) SELECT {names} FROM reads")  # noqa: S608 (our own column names)
    # This drops its triggers and indexes; references to it are by name and remain valid.
    op.drop_table("reads")
    op.rename_table("reads_new", "reads")
    _index_reads()
    keep_as_written("reads")


def _index_reads() -> None:
    once("uq_reads_first", "reads", ["case_id", "account_id"], "stage = 'first' AND place_id IS NULL")
    final = "stage = 'final' AND supersedes_id IS NULL"
    once("uq_reads_final", "reads", ["case_id", "account_id"], f"{final} AND place_id IS NULL")
    once("uq_reads_place_first", "reads", ["place_id"], "stage = 'first'")
    once("uq_reads_place_final", "reads", ["place_id"], final)
    op.create_index("ix_reads_account_id_case_id_stage", "reads", ["account_id", "case_id", "stage"])
