"""A clock that is set back is recorded: a sign-in that has expired would live again, so every sign-in ends."""

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core import clock
from db import tables
from db.audit.chain import allow_earlier_time, newest_moment
from db.audit.seals import seal
from db.audit.trail import record_event
from db.queries.accounts import lock_account
from db.values.accounts import AccessAction
from db.values.audit import Action


def is_set_back(session: Session) -> bool:
    """Return whether the clock was set back and this was not recorded yet, as far as process and trail can tell."""
    return clock.was_set_back() or _is_behind_trail(session)


def record_if_set_back(session: Session, since: int) -> int | None:
    """If the clock was set back, record it and end all sign-ins, unless another process has done so.

    Args:
        session: A session that may write, before anything else is done in it.
        since: The last event that this process knew when its clock was right.

    Returns:
        None if the clock is right. Otherwise the event that another process recorded, 0 if there is none; the time of
        the computer's clock is to be accepted once the session is saved.
    """
    behind = _is_behind_trail(session)
    if not behind and not clock.was_set_back():
        return None
    allow_earlier_time(session)
    event = tables.AuditEvent
    by_others = select(func.max(event.id)).where(event.id > since, event.action == Action.CLOCK_SET_BACK)
    recorded = None if behind else session.scalar(by_others)
    if recorded is None:
        _record(session)
    return recorded or 0


def _is_behind_trail(session: Session) -> bool:
    newest = newest_moment(session)
    return newest is not None and newest - clock.time_of_day() > clock.SET_BACK


def _record(session: Session) -> None:
    row, now, newest = tables.SignIn, clock.time_of_day(), newest_moment(session)
    signed_in = select(row.account_id).where(row.ended_at.is_(None)).distinct().order_by(row.account_id)
    # Always in the same order, so that two sessions that notice it at once cannot deadlock.
    accounts = [lock_account(session, account_id) for account_id in session.scalars(signed_in).all()]
    session.execute(update(row).where(row.ended_at.is_(None)).values(ended_at=now))
    before = f", before the newest event of {newest:%Y-%m-%d %H:%M:%S}" if newest and newest > now else ""
    record_event(session, None, Action.CLOCK_SET_BACK, f"to {now:%Y-%m-%d %H:%M:%S}{before} UTC")
    for account in accounts:
        record_event(session, None, AccessAction.SIGN_INS_ENDED, account.name, content=seal(session, account))
