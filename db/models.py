"""The tables; rows never leave `db`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.labels import Malignancy
from db.columns import UtcDateTime, by_value
from db.values import JobState, Role, Stage, Vote

# Without names a constraint cannot be dropped by a later migration.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every table's parent."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        datetime: UtcDateTime,
        Role: by_value(Role, "role"),
        JobState: by_value(JobState, "state"),
        Stage: by_value(Stage, "stage"),
        Vote: by_value(Vote, "vote"),
        Malignancy: Enum("benign", "malignant", name="label", native_enum=False, create_constraint=True, length=16),
        list[str]: JSON,
        list[float]: JSON,
        list[dict[str, str]]: JSON,
    }


def _once(name: str, columns: Sequence[str], where: str) -> Index:
    return Index(name, *columns, unique=True, sqlite_where=text(where), postgresql_where=text(where))


class Account(Base):
    """One person who may sign in."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    role: Mapped[Role]
    created_at: Mapped[datetime]


class Case(Base):
    """One diagnostic request; `automatic_number` is set when we made its accession."""

    __tablename__ = "cases"
    __table_args__ = (Index(None, "created_by_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    accession: Mapped[str] = mapped_column(String(64), unique=True)
    automatic_number: Mapped[int | None] = mapped_column(unique=True)
    magnification: Mapped[str | None] = mapped_column(String(32))
    demonstration: Mapped[bool]
    created_by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime]


class Image(Base):
    """One field of view of a case and its quality at intake; lengths in pixels."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("case_id", "position"),
        CheckConstraint("height > 0 AND width > 0", name="size"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    position: Mapped[int]
    source_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    file_sha256: Mapped[str] = mapped_column(String(64))
    height: Mapped[int]
    width: Mapped[int]
    sharpness: Mapped[float]
    tissue_fraction: Mapped[float]
    findings: Mapped[list[dict[str, str]]]
    added_at: Mapped[datetime]


class Prediction(Base):
    """What one model version says of one image; holds all that a `Prediction` value needs."""

    __tablename__ = "predictions"
    __table_args__ = (
        UniqueConstraint("image_id", "model_version"),
        CheckConstraint("malignant_probability BETWEEN 0 AND 1", name="probability"),
        CheckConstraint("(heatmap_sha256 IS NULL) = (heatmap_low IS NULL)", name="heatmap_low"),
        CheckConstraint("(heatmap_sha256 IS NULL) = (heatmap_high IS NULL)", name="heatmap_high"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    model_version: Mapped[str] = mapped_column(String(64))
    model_name: Mapped[str] = mapped_column(String(200))
    demonstration: Mapped[bool]
    label_set: Mapped[str] = mapped_column(String(64))
    classes: Mapped[list[str]]
    malignant_classes: Mapped[list[str]]
    probabilities: Mapped[list[float]]
    malignant_probability: Mapped[float]
    threshold: Mapped[float]
    benign_patches: Mapped[int]
    malignant_patches: Mapped[int]
    heatmap_sha256: Mapped[str | None] = mapped_column(String(64))
    heatmap_low: Mapped[float | None]
    heatmap_high: Mapped[float | None]
    created_at: Mapped[datetime]


class Job(Base):
    """How far the analysis of one image has come; the only rows that change."""

    __tablename__ = "jobs"
    # The order in which jobs are claimed.
    __table_args__ = (Index(None, "state", "attempts", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), unique=True)
    state: Mapped[JobState]
    attempts: Mapped[int]
    worker: Mapped[str | None] = mapped_column(String(200))
    message: Mapped[str | None] = mapped_column(Text)
    queued_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Read(Base):
    """One opinion of one reader, and what the model showed when it was given."""

    __tablename__ = "reads"
    __table_args__ = (
        # A double click must not make two; an amendment is a final read that points at the one it replaces.
        _once("uq_reads_first", ("case_id", "account_id"), "stage = 'first' AND place_id IS NULL"),
        _once(
            "uq_reads_final",
            ("case_id", "account_id"),
            "stage = 'final' AND supersedes_id IS NULL AND place_id IS NULL",
        ),
        # In a study a reader reads a case again in every round.
        _once("uq_reads_place_first", ("place_id",), "stage = 'first'"),
        _once("uq_reads_place_final", ("place_id",), "stage = 'final' AND supersedes_id IS NULL"),
        Index(None, "account_id", "case_id", "stage"),
        CheckConstraint("(label IS NULL) = (confidence IS NULL)", name="label_with_confidence"),
        CheckConstraint("confidence BETWEEN 1 AND 5", name="confidence"),
        CheckConstraint("stage = 'final' OR NOT model_visible", name="first_is_blind"),
        CheckConstraint("stage <> 'first' OR supersedes_id IS NULL", name="first_replaces_nothing"),
        CheckConstraint("stage <> 'withdrawn' OR (supersedes_id IS NOT NULL AND label IS NULL)", name="withdrawn"),
        CheckConstraint("model_visible = (shown_probability IS NOT NULL)", name="shown_probability"),
        CheckConstraint("model_visible = (shown_threshold IS NOT NULL)", name="shown_threshold"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    stage: Mapped[Stage]
    label: Mapped[Malignancy | None]
    confidence: Mapped[int | None]
    subtype: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(String(64))
    vote: Mapped[Vote | None]
    model_visible: Mapped[bool]
    shown_probability: Mapped[float | None]  # malignant, of the case, as the reader saw it
    shown_threshold: Mapped[float | None]
    opened_at: Mapped[datetime]
    saved_at: Mapped[datetime]
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("reads.id"), unique=True)
    place_id: Mapped[int | None] = mapped_column(ForeignKey("study_places.id"))  # in a study; None in routine reading
    edit_seconds: Mapped[float | None]  # with the form on the screen, pauses left out


class ReadPrediction(Base):
    """One prediction that was on the screen when a read was given; a case has several images."""

    __tablename__ = "read_predictions"

    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)
    prediction_id: Mapped[int] = mapped_column(ForeignKey("predictions.id"), primary_key=True)


class AuditEvent(Base):
    """Who did what to what, and when, chained by its hashes: `db.audit_chain`."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "account_id", "id"), Index(None, "subject", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))  # None: the program itself
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(200))
    previous_hash: Mapped[str] = mapped_column(String(64), unique=True)  # two events cannot follow the same one
    hash: Mapped[str] = mapped_column(String(64))
    content_of: Mapped[str | None] = mapped_column(String(120))  # the row that the event tells of: `db.seals`
    content_sha256: Mapped[str | None] = mapped_column(String(64))
