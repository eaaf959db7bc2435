"""Identities of providers that sign in as an account: linked by an administrator, never by themselves."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import tables
from db.audit.trail import record_event
from db.queries.permissions import need
from db.store.accounts import account_named
from db.store.sign_ins import end_sign_ins
from db.values.accounts import (
    AccessAction,
    Identity,
    IdentityRow,
    Permission,
    Recognised,
    check_identity_part,
    plain_email,
)
from db.values.reading import Account


def link_identity(
    session: Session, by: int | None, name: str, issuer: str, *, subject: str = "", email: str = ""
) -> None:
    """Let an identity of a provider sign in as an account; named by its subject, or by an address it verified.

    Raises:
        NotAllowedError: If `by` is no administrator.
        ValueError: If there is no such account, the identity is not named by exactly one of the two, or it is linked.
    """
    need(session, by, Permission.ADMINISTER)
    account = account_named(session, name.strip())
    if account is None or session.get(tables.Credential, account.id) is None:
        raise ValueError(f"there is no account {name.strip()!r} that may sign in")
    issuer, subject, email = issuer.strip(), subject.strip(), email.strip()
    check_identity_part("issuer", issuer)
    if bool(subject) == bool(email):
        raise ValueError("name the identity either by its subject or by its e-mail address")
    if subject:
        check_identity_part("subject", subject)
    elif not plain_email(email):
        raise ValueError(f"{email!r} is no e-mail address")
    row = tables.LinkedIdentity(
        account_id=account.id,
        issuer=issuer,
        subject=subject or None,
        email=plain_email(email) or None,
        linked_at=datetime.now(UTC),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise ValueError("this identity is linked already: unlink it first") from error
    record_event(session, by, AccessAction.IDENTITY_LINKED, _subject(account.name, row))


def unlink_identity(session: Session, by: int | None, identity_id: int) -> None:
    """Let an identity sign in no more; all sign-ins of its account end. Unlinking it again changes nothing.

    Raises:
        NotAllowedError: If `by` is no administrator.
        ValueError: If there is no such identity.
    """
    need(session, by, Permission.ADMINISTER)
    row = session.get(tables.LinkedIdentity, identity_id, with_for_update=True)
    if row is None:
        raise ValueError(f"there is no identity number {identity_id}")
    if row.unlinked_at is None:
        row.unlinked_at = datetime.now(UTC)
        end_sign_ins(session, row.account_id)
        name = session.get_one(tables.Account, row.account_id).name
        record_event(session, by, AccessAction.IDENTITY_UNLINKED, _subject(name, row))


def identity_rows(session: Session, by: int | None) -> list[IdentityRow]:
    """Return every identity that was ever linked, the newest first.

    Raises:
        NotAllowedError: If `by` is no administrator.
    """
    need(session, by, Permission.ADMINISTER)
    identity = tables.LinkedIdentity
    query = select(identity, tables.Account.name).join(tables.Account, tables.Account.id == identity.account_id)
    return [
        IdentityRow(row.id, name, row.issuer, row.subject or "", row.email or "", row.linked_at, row.unlinked_at)
        for row, name in session.execute(query.order_by(identity.id.desc()))
    ]


def account_with_identity(session: Session, identity: Identity, way: str) -> Recognised | None:
    """Return the account that an identity is linked to; None if it is to none. It may be disabled.

    An address counts only the first time: the subject that came with it is kept, because a provider may give
    the address of somebody who left to somebody else.
    """
    row = _linked(session, identity)
    if row is None:
        return None
    account = session.get_one(tables.Account, row.account_id)
    credential = session.get_one(tables.Credential, row.account_id)
    if row.subject is None and not credential.disabled:
        row.subject = identity.subject
        record_event(session, account.id, AccessAction.IDENTITY_LINKED, _subject(account.name, row))
    return Recognised(Account(account.id, account.name, account.role), credential.changed_at, way)


def _linked(session: Session, identity: Identity) -> tables.LinkedIdentity | None:
    row = tables.LinkedIdentity
    # Held until the end of this transaction: unlinking it either ends this sign-in or stops it here.
    living = select(row).where(row.issuer == identity.issuer, row.unlinked_at.is_(None)).with_for_update()
    found = session.scalar(living.where(row.subject == identity.subject))
    if found is None and identity.email:
        found = session.scalar(living.where(row.subject.is_(None), row.email == identity.email))
    return found


def _subject(name: str, row: tables.LinkedIdentity) -> str:
    return f"{name[:60]}: {row.subject or row.email or ''}"[:130] + f" at {row.issuer}"
