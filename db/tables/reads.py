"""Opinions of readers, what they were shown, and what settles a case."""

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.labels import Malignancy
from core.results import ScopeLevel
from db.tables.base import Base, by_value, unique_where
from db.values.adjudication import Severity
from db.values.reading import RegionKind, Stage, Vote


class Read(Base):
    """One opinion of one reader, and what the model showed when it was saved."""

    __tablename__ = "reads"
    __table_args__ = (
        # A double click must not save two reads; an amendment is a final read that refers to the one it replaces.
        unique_where("uq_reads_first", ("case_id", "account_id"), "stage = 'first' AND place_id IS NULL"),
        unique_where(
            "uq_reads_final",
            ("case_id", "account_id"),
            "stage = 'final' AND supersedes_id IS NULL AND place_id IS NULL",
        ),
        # In a study a reader reads a case again in every round.
        # Without the reads of routine reading: SQLite would look for all of them here, instead of those of a case.
        unique_where("uq_reads_place_first", ("place_id",), "stage = 'first' AND place_id IS NOT NULL"),
        unique_where(
            "uq_reads_place_final",
            ("place_id",),
            "stage = 'final' AND supersedes_id IS NULL AND place_id IS NOT NULL",
        ),
        Index(None, "account_id", "case_id", "stage"),
        Index(None, "case_id", "account_id"),
        Index(None, "account_id", "saved_at"),
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
    informed: Mapped[bool | None]  # given after others' opinions were open to the reader; None if not recorded
    # Of the case: `out` if the model gave no opinion, `unusual` if it was marked; None if nothing of it was shown.
    shown_scope: Mapped[ScopeLevel | None] = mapped_column(String(16))


class ReadPrediction(Base):
    """One prediction that was on the screen when a read was saved; a case may have several images."""

    __tablename__ = "read_predictions"

    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)
    prediction_id: Mapped[int] = mapped_column(ForeignKey("predictions.id"), primary_key=True)


class ReadScope(Base):
    """The scope of one image that was on the screen when a read was saved."""

    __tablename__ = "read_scopes"

    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)
    scope_id: Mapped[int] = mapped_column(ForeignKey("image_scopes.id"), primary_key=True)


class ReadImage(Base):
    """One image that a read was given on; reads from before images were named have none."""

    __tablename__ = "read_images"

    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)


class Region(Base):
    """A place in an image that a reader marked with a read; coordinates in image pixels."""

    __tablename__ = "regions"
    __table_args__ = (Index(None, "read_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    kind: Mapped[RegionKind] = mapped_column(by_value(RegionKind, "kind"))
    points: Mapped[list[list[float]]] = mapped_column(JSON)
    note: Mapped[str] = mapped_column(String(200))


class Consensus(Base):
    """The decision of an adjudicator after their own blind read."""

    __tablename__ = "consensus"
    __table_args__ = (
        # Two adjudicators who save at once must not add two; a later consensus refers to the one it replaces.
        Index(
            "uq_consensus_first",
            "case_id",
            unique=True,
            sqlite_where=text("supersedes_id IS NULL"),
            postgresql_where=text("supersedes_id IS NULL"),
        ),
        Index(None, "case_id", "id"),
        CheckConstraint("(label IS NULL) = (confidence IS NULL)", name="label_with_confidence"),
        CheckConstraint("confidence BETWEEN 1 AND 5", name="confidence"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    blind_read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"))
    label: Mapped[Malignancy | None]
    confidence: Mapped[int | None]
    subtype: Mapped[str | None] = mapped_column(String(64))
    severity: Mapped[Severity] = mapped_column(by_value(Severity, "severity"))
    note: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime]
    saved_at: Mapped[datetime]
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("consensus.id"), unique=True)


class ConsensusRead(Base):
    """One read that was shown, without a name, when a consensus was saved."""

    __tablename__ = "consensus_reads"

    consensus_id: Mapped[int] = mapped_column(ForeignKey("consensus.id"), primary_key=True)
    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)


class SignOff(Base):
    """One signed version of a case; the last one is current, and earlier ones are kept."""

    __tablename__ = "sign_offs"
    __table_args__ = (
        UniqueConstraint("case_id", "version"),
        CheckConstraint("version >= 1 AND (version = 1) = (why = '')", name="amendment_says_why"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    version: Mapped[int]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    label: Mapped[Malignancy | None]
    subtype: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    consensus_id: Mapped[int | None] = mapped_column(ForeignKey("consensus.id"))
    saved_at: Mapped[datetime]
