"""Which case a reader has open now: it keeps others from opening the same one, and blocks nobody.

A claim is renewed by opening and saving, moves with its reader, and ends by itself. Two readers who open one case
all the same read it both, and both reads are kept.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import tables
from db.queries.cases import case_row
from db.queries.permissions import need
from db.values.accounts import Permission
from db.values.reading import Holder

CLAIM_LASTS = timedelta(minutes=30)
# A page is drawn anew at every click; writing each time would make every click a writer.
_RENEW_EVERY = timedelta(minutes=1)


def claim_case(session: Session, case_id: int, account_id: int) -> None:
    """Take a case for this reader, or keep it for another half hour; the one they had before is free again.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
    """
    need(session, account_id, Permission.READ_CASES)
    case_row(session, case_id)
    now = datetime.now(UTC)
    claim = _held(session, account_id)
    if claim is None:
        claim = tables.Claim(account_id=account_id, case_id=case_id, claimed_at=now, expires_at=now + CLAIM_LASTS)
        try:
            with session.begin_nested():
                session.add(claim)
        except IntegrityError:
            # Another tab of this reader made it between our look and our insert.
            claim = _held(session, account_id)
            if claim is None:
                raise
    if claim.case_id != case_id or claim.expires_at <= now:
        claim.case_id, claim.claimed_at = case_id, now
        claim.expires_at = now + CLAIM_LASTS
    elif claim.expires_at - now < CLAIM_LASTS - _RENEW_EVERY:
        claim.expires_at = now + CLAIM_LASTS


def release_claim(session: Session, account_id: int, case_id: int | None = None) -> None:
    """Let go of the case that this reader has open; with `case_id` only if it is that one.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    need(session, account_id, Permission.READ_CASES)
    now = datetime.now(UTC)
    mine = update(tables.Claim).where(tables.Claim.account_id == account_id, tables.Claim.expires_at > now)
    if case_id is not None:
        mine = mine.where(tables.Claim.case_id == case_id)
    session.execute(mine.values(expires_at=now))


def claim_holders(session: Session, case_id: int, account_id: int) -> tuple[Holder, ...]:
    """Name the other readers who have a case open, the first of them first.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    need(session, account_id, Permission.READ_CASES)
    query = (
        select(tables.Account.name, tables.Claim.claimed_at)
        .join(tables.Account, tables.Account.id == tables.Claim.account_id)
        .where(
            tables.Claim.case_id == case_id,
            tables.Claim.account_id != account_id,
            tables.Claim.expires_at > datetime.now(UTC),
        )
    )
    found = session.execute(query.order_by(tables.Claim.claimed_at, tables.Claim.account_id))
    return tuple(Holder(name, since) for name, since in found)


def _held(session: Session, account_id: int) -> tables.Claim | None:
    # Held until the end of the transaction: two tabs of one reader move it one after the other.
    return session.get(tables.Claim, account_id, with_for_update=True, populate_existing=True)
