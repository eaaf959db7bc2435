"""The people who may sign in."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import models
from db.values import Account, Role

SINGLE_READER = "reader"


def single_reader(session: Session) -> Account:
    """Give the one account of single-reader mode, made on first use (which needs a writing session)."""
    return account_named(session, SINGLE_READER) or _make_single_reader(session)


def add_account(session: Session, name: str, role: Role) -> Account:
    """Make an account.

    Raises:
        ValueError: If the name is empty, taken or has characters that cannot be seen.
    """
    name = name.strip()
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise ValueError("a name has 1 to 200 characters, all of them visible")
    row = models.Account(name=name, role=role, created_at=datetime.now(UTC))
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise ValueError(f"the name {name!r} is taken") from error
    return _value(row)


def account_named(session: Session, name: str) -> Account | None:
    """Find an account by its name."""
    if not name.isprintable():
        return None  # no account has such a name, and PostgreSQL refuses to look for some
    row = session.scalar(select(models.Account).where(models.Account.name == name))
    return _value(row) if row else None


def _make_single_reader(session: Session) -> Account:
    try:
        return add_account(session, SINGLE_READER, Role.READER)
    except ValueError:
        # Another process made it between our look and our insert.
        found = account_named(session, SINGLE_READER)
        if found is None:
            raise
        return found


def _value(row: models.Account) -> Account:
    return Account(row.id, row.name, row.role)
