"""What the worklists list and search; derived from the other rows by `db.projection`."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class WorklistCase(Base):
    """A case on the worklist of one reader: derived from the other rows by `db.projection`, so its row changes.

    The state in `pile` (`db.values.piles`) is the one that the reader learns when Undo has ended, without claims.
    `uncertainty` and `concordance` are 2 where the model said nothing; they are null before the reader's own first or
    final read.
    """

    __tablename__ = "worklist_cases"
    __table_args__ = (
        Index(None, "account_id", "pile", "case_id"),
        Index(
            "ix_worklist_cases_uncertainty",
            *("account_id", "uncertainty", "case_id"),
            sqlite_where=text("uncertainty IS NOT NULL"),
            postgresql_where=text("uncertainty IS NOT NULL"),
        ),
        Index(
            "ix_worklist_cases_concordance",
            *("account_id", "concordance", "case_id"),
            sqlite_where=text("concordance IS NOT NULL"),
            postgresql_where=text("concordance IS NOT NULL"),
        ),
        # SQLite then keeps the rows of a reader together, in the order of the cases.
        {"sqlite_with_rowid": False},
    )

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    pile: Mapped[int] = mapped_column(SmallInteger)
    uncertainty: Mapped[float | None]  # distance of the model's probability from its threshold
    concordance: Mapped[float | None]  # how far the shown probability is on the reader's side of the threshold


class WorklistPile(Base):
    """How many cases are on a pile of one reader; derived like `worklist_cases`."""

    __tablename__ = "worklist_piles"
    __table_args__ = (CheckConstraint("cases >= 0", name="cases"), {"sqlite_with_rowid": False})

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    pile: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    cases: Mapped[int]


class CaseTerm(Base):
    """The accession of a case from one of its parts on, in the form in which it is searched; derived from it."""

    __tablename__ = "case_terms"
    __table_args__ = ({"sqlite_with_rowid": False},)

    term: Mapped[bytes] = mapped_column(primary_key=True)  # bytes sort alike in every database
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)


class CaseSortKey(Base):
    """The place of a case in the natural order of accessions; derived from its accession."""

    __tablename__ = "case_sort_keys"
    __table_args__ = (Index(None, "sort_key", "case_id"),)

    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    sort_key: Mapped[bytes]
