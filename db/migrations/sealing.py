"""Seal rows that were there before, shared by several revisions; applied revisions use it, so it must never change."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context

from db.audit.chain import ADDED_EVENTS, GENESIS, AddedEvents, Link
from db.audit.seals import SealedTable, compute_seals
from db.tables import UtcDateTime
from db.values.audit import Seal

# The action of the events that seal existing rows; also in db.values.audit.
_SEALED = "row sealed"

_events = sa.table(
    "audit_events",
    sa.column("id", sa.Integer),
    sa.column("at", UtcDateTime),
    sa.column("account_id", sa.Integer),
    sa.column("action", sa.String),
    sa.column("subject", sa.String),
    sa.column("previous_hash", sa.String),
    sa.column("hash", sa.String),
    sa.column("content_of", sa.String),
    sa.column("content_sha256", sa.String),
)


def compute_existing_seals(connection: sa.Connection, sealed: Sequence[SealedTable]) -> Iterator[Seal]:
    """Compute the seals of all rows of some tables, as they are now."""
    tables = sa.MetaData()
    tables.reflect(connection)
    for one in sealed:
        yield from list(compute_seals(connection, one, tables))


def add_seals(connection: sa.Connection, seals: Sequence[Seal]) -> None:
    """Add an event at the end of the chain for each seal; the upgrade records them in the anchor file."""
    if not seals:
        return
    last = connection.execute(sa.select(_events.c.id, _events.c.hash).order_by(_events.c.id.desc()).limit(1)).first()
    number, previous = (last.id, last.hash) if last else (0, GENESIS)
    links = list(_links(seals, dict(_accessions(connection)), number, previous))
    connection.execute(sa.insert(_events), [_row(link) for link in links])
    before = context.config.attributes.get(ADDED_EVENTS)
    first = before.first if isinstance(before, AddedEvents) else number + 1
    context.config.attributes[ADDED_EVENTS] = AddedEvents(first, links[-1].number, links[-1].hash)


def _links(seals: Sequence[Seal], cases: dict[str, str], number: int, previous: str) -> Iterator[Link]:
    for content in seals:
        number += 1
        subject = cases.get(content.of, content.of)
        link = Link(previous, number, datetime.now(UTC), None, _SEALED, subject, content)
        previous = link.hash
        yield link


def _accessions(connection: sa.Connection) -> Iterator[tuple[str, str]]:
    """Return the case of every read, so that its event is listed with the others of that case."""
    query = "SELECT reads.id, cases.accession FROM reads JOIN cases ON cases.id = reads.case_id"
    for number, accession in connection.execute(sa.text(query)):
        yield f"reads {number}", accession


def _row(link: Link) -> dict[str, object]:
    return {
        "id": link.number,
        "at": link.at,
        "account_id": None,
        "action": link.action,
        "subject": link.subject,
        "previous_hash": link.previous_hash,
        "hash": link.hash,
        "content_of": link.content.of if link.content else None,
        "content_sha256": link.content.sha256 if link.content else None,
    }
