"""Identities at OpenID providers that sign in as an account; only administrators link them."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.queries.accounts import lock_account
from db.queries.permissions import require_permission
from db.store.accounts import account_named
from db.store.sign_ins import end_sign_ins
from db.values.accounts import (
    AccessAction,
    Account,
    Identity,
    IdentityRow,
    Permission,
    ProvenAccount,
    check_identity_part,
    normalise_email,
)


def link_identity(
    session: Session, by: int | None, name: str, issuer: str, *, subject: str = "", email: str = ""
) -> None:
    """Link an identity to an account, given by its subject or by a verified e-mail address.

    Raises:
        NotAllowedError: If `by` is not an administrator.
        ValueError: If there is no such account, not exactly one of the two is given, or the identity is linked.
    """
    require_permission(session, by, Permission.ADMINISTER)
    account = account_named(session, name.strip())
    if account is None or session.get(tables.Credential, account.id) is None:
        raise ValueError(f"there is no account {name.strip()!r} that can sign in")
    issuer, subject, email = issuer.strip(), subject.strip(), email.strip()
    check_identity_part("issuer", issuer)
    if bool(subject) == bool(email):
        raise ValueError("enter either the subject or the e-mail address of the identity, not both")
    if subject:
        check_identity_part("subject", subject)
    elif not normalise_email(email):
        raise ValueError(f"{email!r} is not an e-mail address")
    owner = lock_account(session, account.id)
    row = tables.LinkedIdentity(
        account_id=account.id,
        issuer=issuer,
        subject=subject or None,
        email=normalise_email(email) or None,
        linked_at=datetime.now(UTC),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise ValueError("this identity is already linked to an account: unlink it first") from error
    _record_change(session, by, AccessAction.IDENTITY_LINKED, owner, row)


def unlink_identity(session: Session, by: int | None, identity_id: int) -> None:
    """Unlink an identity and end all sign-ins of its account; unlinking it again changes nothing.

    Raises:
        NotAllowedError: If `by` is not an administrator.
        ValueError: If there is no such identity.
    """
    require_permission(session, by, Permission.ADMINISTER)
    row = session.get(tables.LinkedIdentity, identity_id, with_for_update=True)
    if row is None:
        raise ValueError(f"there is no identity number {identity_id}")
    if row.unlinked_at is None:
        owner = lock_account(session, row.account_id)
        row.unlinked_at = datetime.now(UTC)
        end_sign_ins(session, row.account_id)
        _record_change(session, by, AccessAction.IDENTITY_UNLINKED, owner, row)


def identity_rows(session: Session, by: int | None) -> list[IdentityRow]:
    """Return all identities ever linked, newest first.

    Raises:
        NotAllowedError: If `by` is not an administrator.
    """
    require_permission(session, by, Permission.ADMINISTER)
    identity = tables.LinkedIdentity
    query = select(identity, tables.Account.name).join(tables.Account, tables.Account.id == identity.account_id)
    return [
        IdentityRow(row.id, name, row.issuer, row.subject or "", row.email or "", row.linked_at, row.unlinked_at)
        for row, name in session.execute(query.order_by(identity.id.desc()))
    ]


def account_with_identity(session: Session, identity: Identity, way: str) -> ProvenAccount | None:
    """Return the account that an identity is linked to, which may be disabled; None if it is not linked.

    An e-mail address is used only at the first sign-in: then the subject is stored, because a provider may give
    the address to another person later.
    """
    row = _active_link(session, identity)
    if row is None:
        return None
    account = lock_account(session, row.account_id)
    credential = session.get_one(tables.Credential, row.account_id)
    if row.subject is None and not credential.disabled:
        row.subject = identity.subject
        _record_change(session, account.id, AccessAction.IDENTITY_LINKED, account, row)
    return ProvenAccount(Account(account.id, account.name, account.role), credential.changed_at, way)


def _active_link(session: Session, identity: Identity) -> tables.LinkedIdentity | None:
    row = tables.LinkedIdentity
    # Locked until the end of this transaction: unlinking either ends this sign-in or prevents it.
    active = select(row).where(row.issuer == identity.issuer, row.unlinked_at.is_(None)).with_for_update()
    link = session.scalar(active.where(row.subject == identity.subject))
    if link is None and identity.email:
        link = session.scalar(active.where(row.subject.is_(None), row.email == identity.email))
    return link


def _record_change(
    session: Session, by: int | None, action: AccessAction, owner: tables.Account, row: tables.LinkedIdentity
) -> None:
    record_event(session, by, action, _subject(owner.name, row), content=seal(session, owner))


def _subject(name: str, row: tables.LinkedIdentity) -> str:
    return f"{name[:60]}: {row.subject or row.email or ''}"[:130] + f" at {row.issuer}"
