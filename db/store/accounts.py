"""Accounts: passwords, roles, who is disabled; every change is recorded and ends sign-ins."""

import secrets
import unicodedata
from datetime import UTC, datetime
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import tables
from db.audit.trail import record_event
from db.queries.permissions import need
from db.store.sign_ins import end_sign_ins, revoke_tokens
from db.values.accounts import AccessAction, AccountRow, Permission, Recognised
from db.values.reading import Account, Role

SINGLE_READER = "reader"

# NIST SP 800-63B asks for length and nothing else: rules on kinds of characters make passwords worse.
SHORTEST, LONGEST = 12, 256  # characters

# Argon2id with the first choice of RFC 9106 for little memory (64 MiB), which is the library's own.
_HASHER = PasswordHasher()


def has_accounts(session: Session) -> bool:
    """Return whether anybody can sign in; if not, this is single-reader mode.

    Disabled accounts count: disabling the last one must not open the door to everyone.
    """
    return session.scalar(select(tables.Credential.account_id).limit(1)) is not None


def single_reader(session: Session) -> Account:
    """Return the one account of single-reader mode, made on first use (which needs a writing session)."""
    return account_named(session, SINGLE_READER) or _make_single_reader(session)


def add_account(session: Session, name: str, role: Role) -> Account:
    """Make an account.

    Raises:
        ValueError: If the name is empty, taken or has characters that cannot be seen.
    """
    name = name.strip()
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise ValueError("a name has 1 to 200 characters, all of them visible")
    row = tables.Account(name=name, role=role, created_at=datetime.now(UTC))
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
    row = session.scalar(select(tables.Account).where(tables.Account.name == name))
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


def _value(row: tables.Account) -> Account:
    return Account(row.id, row.name, row.role)


def check_password_rules(password: str, name: str) -> None:
    """Refuse a password that is too short, too long or hardly a secret.

    Raises:
        ValueError: If it may not be used; the message never repeats it.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password has {SHORTEST} to {LONGEST} characters; a sentence is easy to keep in mind")
    if len(set(password)) < 5:
        raise ValueError("this password repeats too few characters; a sentence is easy to keep in mind")
    if password.strip().casefold() == name.strip().casefold():
        raise ValueError("a password must not be the name of the account")


def hash_password(password: str) -> str:
    """Return what is kept of a password: Argon2id with a salt of its own."""
    return _HASHER.hash(_same_everywhere(password))


def is_right(password: str, kept: str | None) -> bool:
    """Return whether a password is the one that was kept; as slow when nothing was kept.

    Else the time of an answer would tell which names exist.
    """
    try:
        return _HASHER.verify(kept or _nobodys_hash(), _same_everywhere(password)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    return _HASHER.hash(secrets.token_urlsafe(32))


def _same_everywhere(password: str) -> str:
    # Another keyboard may compose the same letter differently.
    return unicodedata.normalize("NFKC", password)


def add_signing_account(session: Session, by: int | None, name: str, role: Role, password: str | None) -> Account:
    """Make an account that can sign in; `by` is the administrator, None at the command line.

    Without a password it signs in by an identity that is linked to it.

    Raises:
        NotAllowedError: If `by` is no administrator.
        ValueError: If the name is taken or the password may not be used.
    """
    need(session, by, Permission.ADMINISTER)
    if password is not None:
        check_password_rules(password, name)
    account = add_account(session, name, role)
    session.add(_credential(account.id, password))
    record_event(session, by, AccessAction.ACCOUNT_ADDED, f"{account.name} ({role})")
    return account


def set_password(session: Session, by: int | None, name: str, password: str) -> None:
    """Return an account a new password; all its sign-ins and tokens end.

    An account may change its own; for another, `by` is an administrator, or None at the command line.

    Raises:
        NotAllowedError: If `by` may not.
        ValueError: If there is no such account or the password may not be used.
    """
    account = _existing(session, name)
    if by != account.id:
        need(session, by, Permission.ADMINISTER)
    check_password_rules(password, account.name)
    credential = session.get(tables.Credential, account.id, with_for_update=True)
    if credential is None:
        session.add(_credential(account.id, password))
    else:
        credential.password_hash = hash_password(password)
        credential.changed_at = datetime.now(UTC)
    _end_access(session, account.id)
    record_event(session, by, AccessAction.PASSWORD_SET, account.name)


def set_role(session: Session, by: int | None, name: str, role: Role) -> None:
    """Return an account another role; all its sign-ins end.

    Raises:
        NotAllowedError: If `by` is no administrator.
        ValueError: If there is no such account, or `by` would change their own role.
    """
    need(session, by, Permission.ADMINISTER)
    account = _existing(session, name)
    _not_oneself(by, account)
    session.get_one(tables.Account, account.id).role = role
    end_sign_ins(session, account.id)
    record_event(session, by, AccessAction.ROLE_CHANGED, f"{account.name} ({account.role} to {role})")


def set_disabled(session: Session, by: int | None, name: str, *, disabled: bool) -> None:
    """Shut an account out, or let it in again; what it read stays. All its sign-ins and tokens end.

    Raises:
        NotAllowedError: If `by` is no administrator.
        ValueError: If there is no such account, it never could sign in, or it is the administrator's own.
    """
    need(session, by, Permission.ADMINISTER)
    account = _existing(session, name)
    _not_oneself(by, account)
    credential = session.get(tables.Credential, account.id, with_for_update=True)
    if credential is None:
        raise ValueError(f"{account.name!r} cannot sign in: there is nothing to switch")
    credential.disabled, credential.changed_at = disabled, datetime.now(UTC)
    _end_access(session, account.id)
    action = AccessAction.ACCOUNT_DISABLED if disabled else AccessAction.ACCOUNT_ENABLED
    record_event(session, by, action, account.name)


def account_rows(session: Session, by: int | None) -> list[AccountRow]:
    """Return every account, by name.

    Raises:
        NotAllowedError: If `by` is no administrator.
    """
    need(session, by, Permission.ADMINISTER)
    account = tables.Account
    query = select(account, tables.Credential).outerjoin(tables.Credential, tables.Credential.account_id == account.id)
    return [
        AccountRow(
            row.id, row.name, row.role, row.created_at, credential is not None, bool(credential and credential.disabled)
        )
        for row, credential in session.execute(query.order_by(account.name))
    ]


def account_with_password(session: Session, name: str, password: str) -> Recognised | None:
    """Return the account that a name and a password belong to.

    None, after the same time, if there is none, the password is wrong or the account is disabled. Takes about
    a tenth of a second, so never in a writing session, where everybody else would wait for it.
    """
    account = account_named(session, name.strip())
    credential = session.get(tables.Credential, account.id) if account else None
    right = is_right(password, credential.password_hash if credential else None)
    if not right or account is None or credential is None or credential.disabled:
        return None
    return Recognised(account, credential.changed_at)


def _credential(account_id: int, password: str | None) -> tables.Credential:
    kept = None if password is None else hash_password(password)
    return tables.Credential(account_id=account_id, password_hash=kept, disabled=False, changed_at=datetime.now(UTC))


def _existing(session: Session, name: str) -> Account:
    account = account_named(session, name.strip())
    if account is None:
        raise ValueError(f"there is no account {name.strip()!r}")
    return account


def _not_oneself(by: int | None, account: Account) -> None:
    # Else the last administrator could lock everybody out of the administration.
    if by == account.id:
        raise ValueError("another administrator has to do this to your own account")


def _end_access(session: Session, account_id: int) -> None:
    end_sign_ins(session, account_id)
    revoke_tokens(session, account_id)
