"""A condition on events of the audit trail that keeps their search short."""

from sqlalchemy import BindParameter, ColumnElement, func
from sqlalchemy.orm import InstrumentedAttribute

from db import tables


def is_event_of(
    event: type[tables.AuditEvent],
    account_id: ColumnElement[int] | InstrumentedAttribute[int] | BindParameter[int] | int,
) -> ColumnElement[bool]:
    """Select the events of an account among those of a subject.

    Written so that SQLite searches by the subject, which has few events: an account has very many.
    """
    return func.coalesce(event.account_id, 0) == account_id
