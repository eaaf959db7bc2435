"""Accounts, how they sign in, the tokens of programs, and what these may do."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, by_value
from db.values.accounts import Role, TokenScope


class Account(Base):
    """One person who may sign in."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    role: Mapped[Role]
    created_at: Mapped[datetime]


class Credential(Base):
    """How one account signs in; an account without such a row cannot.

    Separate from `accounts`, so that a hash is never loaded, shown or exported together with a name.
    """

    __tablename__ = "credentials"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    disabled: Mapped[bool]
    changed_at: Mapped[datetime]


class SignIn(Base):
    """One sign-in of a browser; stores only the hash of its cookie's secret."""

    __tablename__ = "sign_ins"
    __table_args__ = (Index(None, "account_id", "ended_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    idle_until: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


_LINKED = text("unlinked_at IS NULL")


class LinkedIdentity(Base):
    """One identity at a provider that signs in as an account; known by its e-mail address until its first sign-in."""

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


class ApiToken(Base):
    """One token of a program that acts for an account; stores only its hash.

    Without a scope it shows images as its account may see them, as all tokens once did.
    """

    __tablename__ = "api_tokens"
    __table_args__ = (Index(None, "account_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    label: Mapped[str] = mapped_column(String(200))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    scope: Mapped[TokenScope | None] = mapped_column(by_value(TokenScope, "scope"))


class KeyedRequest(Base):
    """A request of a program that must be carried out only once, by the key it was sent with, and its answer.

    Without an answer it is being carried out, or was interrupted.
    """

    __tablename__ = "keyed_requests"
    __table_args__ = (
        UniqueConstraint("token_id", "key"),
        CheckConstraint("(status IS NULL) = (answer IS NULL)", name="answered"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("api_tokens.id"))
    key: Mapped[str] = mapped_column(String(255))
    request_sha256: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    status: Mapped[int | None]
    answer: Mapped[str | None] = mapped_column(Text)


class PredictionPermit(Base):
    """An administrator lets programs ask for predictions of the images of a case before it is signed off."""

    __tablename__ = "prediction_permits"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), unique=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))  # None: a command
    why: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime]
