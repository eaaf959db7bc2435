"""How cases are counted for the figures of agreement; derived from the other rows by `db.projection`."""

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class ComparedCase(Base):
    """A case whose readings one account may know when Undo has ended: derived from the other rows, so its row changes.

    Each number says how the case was read, in one of the ways in which readings are compared: cases with the same
    number are alike in it (`db.queries.comparison_keys`).
    """

    __tablename__ = "compared_cases"
    __table_args__ = (
        Index(None, "account_id", "by_model", "case_id"),
        Index(None, "account_id", "by_readers", "case_id"),
        Index(None, "account_id", "by_reveal", "case_id"),
        Index(None, "account_id", "by_habits", "case_id"),
        {"sqlite_with_rowid": False},
    )

    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 0 stands for all researchers
    by_model: Mapped[int] = mapped_column(BigInteger)
    by_readers: Mapped[int] = mapped_column(BigInteger)
    by_reveal: Mapped[int] = mapped_column(BigInteger)
    by_habits: Mapped[int] = mapped_column(BigInteger)


class ComparedGroup(Base):
    """How many of the cases of one account are alike in what is compared; derived like `compared_cases`."""

    __tablename__ = "compared_groups"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    comparison: Mapped[str] = mapped_column(String(16), primary_key=True)  # the column of `compared_cases`
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(Text)  # how they were read
    cases: Mapped[int]
