"""Sign-ins of browsers and tokens of programs: created, recognised by the hash of their secret, and ended."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from core import clock
from db import tables
from db.audit.clock import is_set_back
from db.audit.seals import seal
from db.audit.trail import record_event
from db.queries.accounts import lock_account
from db.queries.permissions import require_permission
from db.values.accounts import (
    AccessAction,
    Account,
    HeldToken,
    Lifetime,
    Permission,
    ProvenAccount,
    Role,
    TokenRow,
    TokenScope,
    may_hold,
)

_TOKEN_BYTES = 32  # 256 bits cannot be guessed, so a plain hash is enough
# Writing at every request would make every image on a page a write.
_TOUCH_EVERY = timedelta(minutes=1)


def start_sign_in(session: Session, recognised: ProvenAccount, lifetime: Lifetime) -> str | None:
    """Sign an account in and return the secret for its cookie; None if it was disabled or changed meanwhile."""
    account = recognised.account
    owner = lock_account(session, account.id)
    # Locked until the end of this transaction: changing the password either ends this sign-in or prevents it.
    credential = session.get(tables.Credential, account.id, with_for_update=True, populate_existing=True)
    if credential is None or credential.disabled or credential.changed_at != recognised.changed_at:
        return None
    secret, now = secrets.token_urlsafe(_TOKEN_BYTES), clock.now()
    row = tables.SignIn(
        account_id=account.id,
        token_sha256=_sha256(secret),
        created_at=now,
        idle_until=now + lifetime.idle,
        expires_at=now + lifetime.absolute,
    )
    _end_expired(session, account.id)
    session.add(row)
    subject = f"{account.name[:100]} (by {recognised.way[:80]})"
    record_event(session, account.id, AccessAction.SIGNED_IN, subject, content=seal(session, owner))
    return secret


def signed_in(session: Session, secret: str) -> Account | None:
    """Return the account of a cookie's secret; None if the sign-in has ended or timed out.

    None also while the clock is set back and the end of all sign-ins is not recorded yet.
    """
    now = clock.now()
    account = tables.Account
    query = (
        select(account)
        .join(tables.SignIn, tables.SignIn.account_id == account.id)
        .join(tables.Credential, tables.Credential.account_id == account.id)
        .where(
            tables.SignIn.token_sha256 == _sha256(secret), tables.SignIn.ended_at.is_(None), ~tables.Credential.disabled
        )
        # One that begins in the future shows that the clock was set back, and nobody can say whether it has expired.
        .where(tables.SignIn.created_at <= now, tables.SignIn.idle_until > now, tables.SignIn.expires_at > now)
    )
    found = session.scalar(query)
    return None if found and is_set_back(session) else _account(found)


def needs_touch(session: Session, secret: str, lifetime: Lifetime) -> bool:
    """Return whether to renew the idle time of a sign-in, which happens about once a minute."""
    until = session.scalar(select(tables.SignIn.idle_until).where(tables.SignIn.token_sha256 == _sha256(secret)))
    return until is not None and until - clock.now() < lifetime.idle - min(_TOUCH_EVERY, lifetime.idle / 4)


def touch_sign_in(session: Session, secret: str, lifetime: Lifetime) -> None:
    """Restart the idle time of a sign-in; one that has ended stays ended, and all that have timed out end."""
    _end_all_expired(session)
    now = clock.now()
    active = (
        tables.SignIn.token_sha256 == _sha256(secret),
        tables.SignIn.ended_at.is_(None),
        tables.SignIn.idle_until > now,
    )
    session.execute(update(tables.SignIn).where(*active).values(idle_until=now + lifetime.idle))


def end_sign_in(session: Session, secret: str) -> None:
    """Sign out the browser with this secret."""
    account = signed_in(session, secret)
    if account is None:
        return
    owner = lock_account(session, account.id)
    row = tables.SignIn.token_sha256 == _sha256(secret)
    session.execute(update(tables.SignIn).where(row).values(ended_at=clock.now()))
    record_event(session, account.id, AccessAction.SIGNED_OUT, account.name, content=seal(session, owner))


def end_sign_ins(session: Session, account_id: int) -> None:
    """Sign an account out everywhere; the caller records it with a new seal of the account."""
    active = (tables.SignIn.account_id == account_id, tables.SignIn.ended_at.is_(None))
    session.execute(update(tables.SignIn).where(*active).values(ended_at=clock.now()))


def _end_all_expired(session: Session) -> None:
    """End every sign-in that has timed out, and record it, so that no change of the clock brings one back."""
    expired = select(tables.SignIn.account_id).where(_has_timed_out(clock.now())).distinct()
    # Always in the same order, so that two sessions that do this at once cannot deadlock.
    for account_id in session.scalars(expired.order_by(tables.SignIn.account_id)).all():
        owner = lock_account(session, account_id)
        _end_expired(session, account_id)
        record_event(session, None, AccessAction.SIGN_INS_ENDED, owner.name, content=seal(session, owner))


def _end_expired(session: Session, account_id: int) -> None:
    """End the sign-ins of an account that have timed out; the caller records it with a new seal of the account."""
    row, now = tables.SignIn, clock.now()
    session.execute(update(row).where(row.account_id == account_id, _has_timed_out(now)).values(ended_at=now))


def _has_timed_out(now: datetime) -> ColumnElement[bool]:
    row = tables.SignIn
    return and_(row.ended_at.is_(None), or_(row.idle_until <= now, row.expires_at <= now))


def add_token(session: Session, by: int | None, account: Account, label: str, scope: TokenScope | None = None) -> str:
    """Create a token for a program that acts for an account, and return it; it cannot be shown again.

    Raises:
        NotAllowedError: If `by` is not an administrator.
        ValueError: If the label is empty, too long or has invisible characters, or the account may not have a token
            with this scope.
    """
    require_permission(session, by, Permission.ADMINISTER)
    label = label.strip()
    if not 0 < len(label) <= 100 or not label.isprintable():
        raise ValueError("the label of a token must have 1 to 100 visible characters")
    owner = lock_account(session, account.id)
    if scope is not None and not may_hold(owner.role, scope):
        raise ValueError(_refuse_scope(owner.role, scope))
    secret = f"sr_{secrets.token_urlsafe(_TOKEN_BYTES)}"
    now = clock.now()
    session.add(
        tables.ApiToken(account_id=account.id, label=label, token_sha256=_sha256(secret), created_at=now, scope=scope)
    )
    subject = f"{account.name[:80]}: {label}" + (f" ({scope})" if scope else "")
    record_event(session, by, AccessAction.TOKEN_ADDED, subject, content=seal(session, owner))
    return secret


def find_token(session: Session, secret: str) -> HeldToken | None:
    """Return a token by its secret; None if it is revoked, its account disabled, or its scope no longer allowed."""
    account, token = tables.Account, tables.ApiToken
    query = (
        select(account, token.id, token.scope)
        .join(token, token.account_id == account.id)
        .join(tables.Credential, tables.Credential.account_id == account.id)
        .where(
            token.token_sha256 == _sha256(secret),
            token.revoked_at.is_(None),
            ~tables.Credential.disabled,
        )
    )
    found = session.execute(query).first()
    if found is None:
        return None
    row, number, scope = found
    # A change of role revokes all tokens; this holds even if the role was changed in the database itself.
    if scope is not None and not may_hold(row.role, scope):
        return None
    return HeldToken(number, Account(row.id, row.name, row.role), scope)


def token_rows(session: Session, by: int | None) -> list[TokenRow]:
    """Return all tokens, newest first.

    Raises:
        NotAllowedError: If `by` is not an administrator.
    """
    require_permission(session, by, Permission.ADMINISTER)
    query = select(tables.ApiToken, tables.Account.name).join(
        tables.Account, tables.Account.id == tables.ApiToken.account_id
    )
    rows = session.execute(query.order_by(tables.ApiToken.id.desc()))
    return [TokenRow(row.id, name, row.label, row.created_at, row.revoked_at, row.scope) for row, name in rows]


def revoke_token(session: Session, by: int | None, token_id: int) -> None:
    """Revoke a token; revoking it again changes nothing.

    Raises:
        NotAllowedError: If `by` is not an administrator.
        ValueError: If there is no such token.
    """
    require_permission(session, by, Permission.ADMINISTER)
    row = session.get(tables.ApiToken, token_id)
    if row is None:
        raise ValueError(f"there is no token number {token_id}")
    if row.revoked_at is None:
        owner = lock_account(session, row.account_id)
        row.revoked_at = clock.now()
        subject = f"{owner.name[:90]}: {row.label}"
        record_event(session, by, AccessAction.TOKEN_REVOKED, subject, content=seal(session, owner))


def revoke_tokens(session: Session, account_id: int) -> None:
    """Revoke all tokens of an account; the caller records it with a new seal of the account."""
    active = (tables.ApiToken.account_id == account_id, tables.ApiToken.revoked_at.is_(None))
    session.execute(update(tables.ApiToken).where(*active).values(revoked_at=clock.now()))


def _account(row: tables.Account | None) -> Account | None:
    return Account(row.id, row.name, row.role) if row else None


def _refuse_scope(role: Role, scope: TokenScope) -> str:
    if scope is TokenScope.CASES:
        return f"the role {role} may not add cases: choose the account of a reader or an adjudicator"
    return (
        f"a token for {scope} cannot belong to an account with the role {role}: choose a researcher or an "
        "administrator, such as one made for the program"
    )


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def record_refused_sign_in(session: Session, subject: str) -> None:
    """Record a failed attempt to sign in; `subject` says who tried, as far as known."""
    record_event(session, None, AccessAction.SIGN_IN_REFUSED, subject)
