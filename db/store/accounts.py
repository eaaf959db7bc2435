"""Accounts: passwords, roles and disabling; every change is recorded and ends sign-ins."""

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
from db.audit.seals import seal
from db.audit.trail import record_event
from db.queries.accounts import lock_account
from db.queries.permissions import require_permission
from db.store.sign_ins import end_sign_ins, revoke_tokens
from db.values.accounts import AccessAction, Account, AccountRow, Permission, ProvenAccount, Role

SINGLE_READER = "reader"

# NIST SP 800-63B requires only length: rules about kinds of characters make passwords worse.
SHORTEST, LONGEST = 12, 256  # characters

# Argon2id with the parameters that RFC 9106 recommends for little memory (64 MiB), the library's default.
_HASHER = PasswordHasher()


def has_accounts(session: Session) -> bool:
    """Return whether any account can sign in; if not, this is single-reader mode.

    Disabled accounts count: disabling the last one must not give everyone access.
    """
    return session.scalar(select(tables.Credential.account_id).limit(1)) is not None


def single_reader(session: Session) -> Account:
    """Return the only account of single-reader mode, created on first use (which needs a writing session)."""
    return account_named(session, SINGLE_READER) or _add_single_reader(session)


def add_account(session: Session, name: str, role: Role) -> Account:
    """Create an account that cannot sign in yet.

    Raises:
        ValueError: If the name is empty, taken, too long or has invisible characters.
    """
    row = _insert_account(session, name, role)
    _record_change(session, None, AccessAction.ACCOUNT_ADDED, f"{row.name} ({role})", row)
    return _value(row)


def _insert_account(session: Session, name: str, role: Role) -> tables.Account:
    name = name.strip()
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise ValueError("the name of an account must have 1 to 200 visible characters")
    row = tables.Account(name=name, role=role, created_at=datetime.now(UTC))
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise ValueError(f"there is already an account {name!r}") from error
    return row


def account_named(session: Session, name: str) -> Account | None:
    """Find an account by its name."""
    if not name.isprintable():
        return None  # no account has such a name, and PostgreSQL cannot search for some of them
    row = session.scalar(select(tables.Account).where(tables.Account.name == name))
    return _value(row) if row else None


def _add_single_reader(session: Session) -> Account:
    try:
        return add_account(session, SINGLE_READER, Role.READER)
    except ValueError:
        # Another process created it after we looked.
        existing = account_named(session, SINGLE_READER)
        if existing is None:
            raise
        return existing


def _value(row: tables.Account) -> Account:
    return Account(row.id, row.name, row.role)


def check_password_rules(password: str, name: str) -> None:
    """Check that a password is not too short, too long or too easy to guess.

    Raises:
        ValueError: If it is; the message never repeats it.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password must have {SHORTEST} to {LONGEST} characters; a sentence is easy to remember")
    if len(set(password)) < 5:
        raise ValueError("this password has too few different characters; a sentence is easy to remember")
    if password.strip().casefold() == name.strip().casefold():
        raise ValueError("the password must not be the name of the account")


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password, with its own salt."""
    return _HASHER.hash(_normalise(password))


def matches_hash(password: str, password_hash: str | None) -> bool:
    """Return whether a password matches a hash; equally slow without one.

    Otherwise the response time would reveal which names exist.
    """
    try:
        return _HASHER.verify(password_hash or _unused_hash(), _normalise(password)) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _unused_hash() -> str:
    return _HASHER.hash(secrets.token_urlsafe(32))


def _normalise(password: str) -> str:
    # Another keyboard may encode the same letter differently.
    return unicodedata.normalize("NFKC", password)


def add_signing_account(session: Session, by: int | None, name: str, role: Role, password: str | None) -> Account:
    """Create an account that can sign in; `by` is the administrator, None on the command line.

    Without a password it can sign in only through a linked identity.

    Raises:
        NotAllowedError: If `by` is not an administrator.
        ValueError: If the name is taken or the password breaks a rule.
    """
    require_permission(session, by, Permission.ADMINISTER)
    if password is not None:
        check_password_rules(password, name)
    row = _insert_account(session, name, role)
    session.add(_credential(row.id, password))
    _record_change(session, by, AccessAction.ACCOUNT_ADDED, f"{row.name} ({role})", row)
    return _value(row)


def set_password(session: Session, by: int | None, name: str, password: str) -> None:
    """Set the password of an account and end all its sign-ins and tokens.

    An account may change its own; otherwise `by` is an administrator, or None on the command line.

    Raises:
        NotAllowedError: If `by` may not do this.
        ValueError: If there is no such account or the password breaks a rule.
    """
    account = _find_account(session, name)
    if by != account.id:
        require_permission(session, by, Permission.ADMINISTER)
    check_password_rules(password, account.name)
    row = lock_account(session, account.id)
    credential = session.get(tables.Credential, account.id, with_for_update=True)
    if credential is None:
        session.add(_credential(account.id, password))
    else:
        credential.password_hash = hash_password(password)
        credential.changed_at = datetime.now(UTC)
    _end_access(session, account.id)
    _record_change(session, by, AccessAction.PASSWORD_SET, account.name, row)


def set_role(session: Session, by: int | None, name: str, role: Role) -> None:
    """Change the role of an account and end all its sign-ins.

    Raises:
        NotAllowedError: If `by` is not an administrator.
        ValueError: If there is no such account, or it is the administrator's own.
    """
    require_permission(session, by, Permission.ADMINISTER)
    account = _find_account(session, name)
    _refuse_own_account(by, account)
    row = lock_account(session, account.id)
    before, row.role = row.role, role
    end_sign_ins(session, account.id)
    _record_change(session, by, AccessAction.ROLE_CHANGED, f"{account.name} ({before} to {role})", row)


def set_disabled(session: Session, by: int | None, name: str, *, disabled: bool) -> None:
    """Disable or enable an account, and end all its sign-ins and tokens; its reads are kept.

    Raises:
        NotAllowedError: If `by` is not an administrator.
        ValueError: If there is no such account, it can never sign in, or it is the administrator's own.
    """
    require_permission(session, by, Permission.ADMINISTER)
    account = _find_account(session, name)
    _refuse_own_account(by, account)
    row = lock_account(session, account.id)
    credential = session.get(tables.Credential, account.id, with_for_update=True)
    if credential is None:
        raise ValueError(f"the account {account.name!r} cannot sign in, so it cannot be disabled or enabled")
    credential.disabled, credential.changed_at = disabled, datetime.now(UTC)
    _end_access(session, account.id)
    action = AccessAction.ACCOUNT_DISABLED if disabled else AccessAction.ACCOUNT_ENABLED
    _record_change(session, by, action, account.name, row)


def account_rows(session: Session, by: int | None) -> list[AccountRow]:
    """Return all accounts, sorted by name.

    Raises:
        NotAllowedError: If `by` is not an administrator.
    """
    require_permission(session, by, Permission.ADMINISTER)
    account = tables.Account
    query = select(account, tables.Credential).outerjoin(tables.Credential, tables.Credential.account_id == account.id)
    return [
        AccountRow(
            row.id, row.name, row.role, row.created_at, credential is not None, bool(credential and credential.disabled)
        )
        for row, credential in session.execute(query.order_by(account.name))
    ]


def account_with_password(session: Session, name: str, password: str) -> ProvenAccount | None:
    """Return the account with this name and password.

    None, after the same time, if there is none, the password is wrong or the account is disabled. Takes about
    a tenth of a second, so do not call it in a writing session, where all other writers would wait for it.
    """
    account = account_named(session, name.strip())
    credential = session.get(tables.Credential, account.id) if account else None
    right = matches_hash(password, credential.password_hash if credential else None)
    if not right or account is None or credential is None or credential.disabled:
        return None
    return ProvenAccount(account, credential.changed_at)


def _record_change(session: Session, by: int | None, action: AccessAction, subject: str, row: tables.Account) -> None:
    """Record a change of an account with the seal of the account and everything that belongs to it."""
    record_event(session, by, action, subject, content=seal(session, row))


def _credential(account_id: int, password: str | None) -> tables.Credential:
    password_hash = None if password is None else hash_password(password)
    return tables.Credential(
        account_id=account_id, password_hash=password_hash, disabled=False, changed_at=datetime.now(UTC)
    )


def _find_account(session: Session, name: str) -> Account:
    account = account_named(session, name.strip())
    if account is None:
        raise ValueError(f"there is no account {name.strip()!r}")
    return account


def _refuse_own_account(by: int | None, account: Account) -> None:
    # Otherwise the last administrator could lock everyone out of the administration.
    if by == account.id:
        raise ValueError("you cannot do this to your own account: ask another administrator")


def _end_access(session: Session, account_id: int) -> None:
    end_sign_ins(session, account_id)
    revoke_tokens(session, account_id)
