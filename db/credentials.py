"""Accounts that can sign in: passwords, roles, and who is disabled; every change is recorded and ends sign-ins."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import models
from db.access_models import Credential
from db.access_values import AccessAction, AccountRow, Permission, Recognised
from db.accounts import account_named, add_account
from db.audit import record_event
from db.passwords import check_password_rules, hash_password, is_right
from db.permissions import need
from db.sign_ins import end_sign_ins, revoke_tokens
from db.values import Account, Role


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
    """Give an account a new password; all its sign-ins and tokens end.

    An account may change its own; for another, `by` is an administrator, or None at the command line.

    Raises:
        NotAllowedError: If `by` may not.
        ValueError: If there is no such account or the password may not be used.
    """
    account = _existing(session, name)
    if by != account.id:
        need(session, by, Permission.ADMINISTER)
    check_password_rules(password, account.name)
    credential = session.get(Credential, account.id, with_for_update=True)
    if credential is None:
        session.add(_credential(account.id, password))
    else:
        credential.password_hash = hash_password(password)
        credential.changed_at = datetime.now(UTC)
    _end_access(session, account.id)
    record_event(session, by, AccessAction.PASSWORD_SET, account.name)


def set_role(session: Session, by: int | None, name: str, role: Role) -> None:
    """Give an account another role; all its sign-ins end.

    Raises:
        NotAllowedError: If `by` is no administrator.
        ValueError: If there is no such account, or `by` would change their own role.
    """
    need(session, by, Permission.ADMINISTER)
    account = _existing(session, name)
    _not_oneself(by, account)
    session.get_one(models.Account, account.id).role = role
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
    credential = session.get(Credential, account.id, with_for_update=True)
    if credential is None:
        raise ValueError(f"{account.name!r} cannot sign in: there is nothing to switch")
    credential.disabled, credential.changed_at = disabled, datetime.now(UTC)
    _end_access(session, account.id)
    action = AccessAction.ACCOUNT_DISABLED if disabled else AccessAction.ACCOUNT_ENABLED
    record_event(session, by, action, account.name)


def account_rows(session: Session, by: int | None) -> list[AccountRow]:
    """Give every account, by name.

    Raises:
        NotAllowedError: If `by` is no administrator.
    """
    need(session, by, Permission.ADMINISTER)
    account = models.Account
    query = select(account, Credential).outerjoin(Credential, Credential.account_id == account.id)
    return [
        AccountRow(
            row.id, row.name, row.role, row.created_at, credential is not None, bool(credential and credential.disabled)
        )
        for row, credential in session.execute(query.order_by(account.name))
    ]


def account_with_password(session: Session, name: str, password: str) -> Recognised | None:
    """Give the account that a name and a password belong to.

    None, after the same time, if there is none, the password is wrong or the account is disabled. Takes about
    a tenth of a second, so never in a writing session, where everybody else would wait for it.
    """
    account = account_named(session, name.strip())
    credential = session.get(Credential, account.id) if account else None
    right = is_right(password, credential.password_hash if credential else None)
    if not right or account is None or credential is None or credential.disabled:
        return None
    return Recognised(account, credential.changed_at)


def _credential(account_id: int, password: str | None) -> Credential:
    kept = None if password is None else hash_password(password)
    return Credential(account_id=account_id, password_hash=kept, disabled=False, changed_at=datetime.now(UTC))


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
