"""Conditions on events of the audit trail that keep their search short."""

from sqlalchemy import BindParameter, ColumnElement, exists, func
from sqlalchemy.orm import InstrumentedAttribute, aliased

from db import tables
from db.values.audit import Action

_Account = ColumnElement[int] | InstrumentedAttribute[int] | BindParameter[int] | int

_SHOWN = aliased(tables.AuditEvent)  # made once: each alias lays its columns out anew


def is_event_of(event: type[tables.AuditEvent], account_id: _Account) -> ColumnElement[bool]:
    """Select the events of an account among those of a subject.

    Written so that SQLite searches by the subject, which has few events: an account has very many.
    """
    return func.coalesce(event.account_id, 0) == account_id


def were_opinions_shown(accession: InstrumentedAttribute[str], account_id: _Account) -> ColumnElement[bool]:
    """Select the cases of which an account was shown what others said."""
    event = _SHOWN
    return exists().where(
        event.subject == accession, is_event_of(event, account_id), event.action == Action.OPINIONS_SHOWN
    )
