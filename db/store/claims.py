"""Claims: which case a reader has open now. The worklist steers other readers away from it, without blocking them.

Opening and saving renew a claim, which moves with its reader and expires. If two readers open the same case anyway,
both may read it, and both reads are kept.
"""

from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import clock
from db import tables
from db.queries.cases import case_row
from db.queries.intakes import refuse_incomplete
from db.queries.permissions import require_permission
from db.values.accounts import Permission
from db.values.reading import Holder

CLAIM_LASTS = timedelta(minutes=30)
# A page is redrawn at every click; renewing each time would make every click write.
_RENEW_EVERY = timedelta(minutes=1)


def claim_case(session: Session, case_id: int, account_id: int) -> None:
    """Claim a case for this reader, or renew the claim for another half hour; an earlier claim is released.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        IncompleteCaseError: If its images are still being stored.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    refuse_incomplete(session, case_row(session, case_id))
    now = clock.now()
    claim = _locked_claim(session, account_id)
    if claim is None:
        claim = tables.Claim(account_id=account_id, case_id=case_id, claimed_at=now, expires_at=now + CLAIM_LASTS)
        try:
            with session.begin_nested():
                session.add(claim)
        except IntegrityError:
            # Another tab of this reader added it after we looked.
            claim = _locked_claim(session, account_id)
            if claim is None:
                raise
    if claim.case_id != case_id or claim.expires_at <= now:
        claim.case_id, claim.claimed_at = case_id, now
        claim.expires_at = now + CLAIM_LASTS
    elif claim.expires_at - now < CLAIM_LASTS - _RENEW_EVERY:
        claim.expires_at = now + CLAIM_LASTS


def release_claim(session: Session, account_id: int, case_id: int | None = None) -> None:
    """Release the case that this reader has open; with `case_id` only if it is that case.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    now = clock.now()
    mine = update(tables.Claim).where(tables.Claim.account_id == account_id, tables.Claim.expires_at > now)
    if case_id is not None:
        mine = mine.where(tables.Claim.case_id == case_id)
    session.execute(mine.values(expires_at=now))


def claim_holders(session: Session, case_id: int, account_id: int) -> tuple[Holder, ...]:
    """Return the other readers who have a case open, in the order in which they opened it.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    query = (
        select(tables.Account.name, tables.Claim.claimed_at)
        .join(tables.Account, tables.Account.id == tables.Claim.account_id)
        .where(
            tables.Claim.case_id == case_id,
            tables.Claim.account_id != account_id,
            tables.Claim.expires_at > clock.now(),
        )
    )
    rows = session.execute(query.order_by(tables.Claim.claimed_at, tables.Claim.account_id))
    return tuple(Holder(name, since) for name, since in rows)


def _locked_claim(session: Session, account_id: int) -> tables.Claim | None:
    # Locked until the end of the transaction, so that two tabs of one reader move it one after the other.
    return session.get(tables.Claim, account_id, with_for_update=True, populate_existing=True)
