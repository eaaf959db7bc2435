"""The tables of reading as in a reader study; whoever imports `Base` from here knows every table of reading."""

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.labels import Malignancy
from db.columns import by_value
from db.evaluation_models import Base
from db.reading_values import Arm, RegionKind, Severity

__all__ = [
    "Assignment",
    "Base",
    "Claim",
    "Consensus",
    "ConsensusRead",
    "Priority",
    "Region",
    "SignOff",
    "Study",
    "StudyPlace",
]


class Study(Base):
    """One reader study; only `closed_at` is ever filled in later."""

    __tablename__ = "studies"
    __table_args__ = (CheckConstraint("washout_days >= 0", name="washout"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    seed: Mapped[int]
    washout_days: Mapped[float]
    counterbalanced: Mapped[bool]
    created_by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class StudyPlace(Base):
    """One case in the order of one reader; written when the study is made."""

    __tablename__ = "study_places"
    __table_args__ = (
        UniqueConstraint("study_id", "account_id", "round", "position", name="uq_study_places_order"),
        UniqueConstraint("study_id", "account_id", "round", "case_id", name="uq_study_places_case"),
        Index(None, "account_id", "case_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    round: Mapped[int]
    arm: Mapped[Arm] = mapped_column(by_value(Arm, "arm"))
    iteration: Mapped[int]
    position: Mapped[int]


class Assignment(Base):
    """A case given to a reader, or taken back; the last row of a case and a reader counts."""

    __tablename__ = "assignments"
    __table_args__ = (Index(None, "case_id", "account_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    active: Mapped[bool]
    by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    at: Mapped[datetime]


class Priority(Base):
    """Whether a case is urgent; the last row of a case counts."""

    __tablename__ = "priorities"
    __table_args__ = (Index(None, "case_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    urgent: Mapped[bool]
    by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    at: Mapped[datetime]


class Claim(Base):
    """The case that a reader has open now, one at most; follows the reader and says nothing of the past."""

    __tablename__ = "claims"
    __table_args__ = (Index(None, "case_id"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    claimed_at: Mapped[datetime]
    expires_at: Mapped[datetime]


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
    """What an adjudicator settled after a blind read of their own."""

    __tablename__ = "consensus"
    __table_args__ = (
        # Two adjudicators who save at once must not make two; a later one says which it replaces.
        Index(
            "uq_consensus_first",
            "case_id",
            unique=True,
            sqlite_where=text("supersedes_id IS NULL"),
            postgresql_where=text("supersedes_id IS NULL"),
        ),
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
    """One read that was shown, without a name, when a consensus was given."""

    __tablename__ = "consensus_reads"

    consensus_id: Mapped[int] = mapped_column(ForeignKey("consensus.id"), primary_key=True)
    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)


class SignOff(Base):
    """One signed version of a case; the last one counts, and all of them stay."""

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
