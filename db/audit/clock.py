"""The clock of this computer: time in the trail never goes back without an event that says so.

A sign-in that has expired would live again if the clock were set back, so that ends every sign-in.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import tables
from db.audit.chain import allow_earlier_time, allows_earlier_time, newest_moment
from db.audit.seals import seal
from db.audit.trail import record_event
from db.queries.accounts import lock_account
from db.values.accounts import AccessAction
from db.values.reading import Action

# Time servers correct clocks by less, and computers that share a database differ by less.
_TOLERANCE = timedelta(minutes=1)


def is_behind_trail(session: Session) -> bool:
    """Return whether the clock shows an earlier time than the newest event."""
    newest = newest_moment(session)
    return newest is not None and newest - datetime.now(UTC) > _TOLERANCE


def record_if_set_back(session: Session) -> None:
    """If the clock shows an earlier time than the newest event, record it and end all sign-ins."""
    if is_behind_trail(session):
        record_set_back(session)


def record_set_back(session: Session) -> None:
    """Record that the clock was set back, and end every sign-in; the events of this session have the earlier time."""
    if allows_earlier_time(session):
        return  # recorded already
    row = tables.SignIn
    open_ = select(row.account_id).where(row.ended_at.is_(None)).distinct().order_by(row.account_id)
    # Always in the same order, so that two sessions that notice it at once cannot deadlock.
    accounts = [lock_account(session, account_id) for account_id in session.scalars(open_).all()]
    now, newest = datetime.now(UTC), newest_moment(session)
    session.execute(update(row).where(row.ended_at.is_(None)).values(ended_at=now))
    allow_earlier_time(session)
    before = f", before the newest event of {newest:%Y-%m-%d %H:%M:%S}" if newest and newest > now else ""
    record_event(session, None, Action.CLOCK_SET_BACK, f"to {now:%Y-%m-%d %H:%M:%S}{before} UTC")
    for account in accounts:
        record_event(session, None, AccessAction.SIGN_INS_ENDED, account.name, content=seal(session, account))
