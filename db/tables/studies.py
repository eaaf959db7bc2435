"""Reader studies and the places of their cases."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, by_value
from db.values.reading import Arm


class Study(Base):
    """One reader study; only `closed_at` is filled in later."""

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
