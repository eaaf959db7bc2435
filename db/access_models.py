"""The tables of access; whoever imports `Base` from here knows every table of the database."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from db.reading_models import Base

__all__ = ["ApiToken", "Base", "Credential", "LinkedIdentity", "SignIn"]

_LINKED = text("unlinked_at IS NULL")


class Credential(Base):
    """How one account signs in; an account without such a row never can.

    Beside `accounts`, so that a hash is never loaded, shown or exported together with a name.
    """

    __tablename__ = "credentials"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    disabled: Mapped[bool]
    changed_at: Mapped[datetime]


class SignIn(Base):
    """One browser in which somebody signed in; only the hash of what its cookie holds."""

    __tablename__ = "sign_ins"
    __table_args__ = (Index(None, "account_id", "ended_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    idle_until: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ApiToken(Base):
    """One key of a program that asks in the name of an account; only its hash."""

    __tablename__ = "api_tokens"
    __table_args__ = (Index(None, "account_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    label: Mapped[str] = mapped_column(String(200))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class LinkedIdentity(Base):
    """One identity of a provider that signs in as an account; by its address until it first did so."""

    __tablename__ = "identities"
    __table_args__ = (
        Index(
            "uq_identities_subject", "issuer", "subject", unique=True, sqlite_where=_LINKED, postgresql_where=_LINKED
        ),
        Index("uq_identities_email", "issuer", "email", unique=True, sqlite_where=_LINKED, postgresql_where=_LINKED),
        Index(None, "account_id"),
        CheckConstraint("subject IS NOT NULL OR email IS NOT NULL", name="names_somebody"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    issuer: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str | None] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(255))
    linked_at: Mapped[datetime]
    unlinked_at: Mapped[datetime | None]
