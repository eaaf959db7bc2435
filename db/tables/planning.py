"""Who is to read a case, how urgent it is, and who has it open."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class Assignment(Base):
    """An assignment of a case to a reader, or its withdrawal; the last row of a case and a reader counts."""

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
    """The case that a reader has open now, at most one; holds no history."""

    __tablename__ = "claims"
    __table_args__ = (Index(None, "case_id"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    claimed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
