"""The events of the audit trail."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class AuditEvent(Base):
    """Who did what to what, and when, chained by its hashes: `db.audit.chain`."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "account_id", "id"), Index(None, "subject", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))  # None: the program itself
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(200))
    previous_hash: Mapped[str] = mapped_column(String(64), unique=True)  # two events cannot follow the same one
    hash: Mapped[str] = mapped_column(String(64))
    content_of: Mapped[str | None] = mapped_column(String(120))  # the row that the event describes: `db.audit.seals`
    content_sha256: Mapped[str | None] = mapped_column(String(64))
