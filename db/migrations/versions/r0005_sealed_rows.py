"""Let events hold the seal of the row they describe, and seal the existing rows."""

from collections.abc import Iterator
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context, op

from db.audit.chain import ADDED_EVENTS, GENESIS, AddedEvents, Link
from db.audit.seals import LinkedTable, SealedTable, compute_seals
from db.tables import UtcDateTime

revision = "0005"
down_revision = "0004"

# The action of the events that seal existing rows; also in db.values.audit, and never to be changed.
_SEALED = "row sealed"
_TABLES = (
    SealedTable("reads", (LinkedTable("read_predictions", "read_id"),)),
    SealedTable("predictions"),
    SealedTable("evaluations", (LinkedTable("evaluated_images", "evaluation_id"),)),
    SealedTable("shifts"),
    SealedTable("deployments"),
)

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


def upgrade() -> None:
    """Add the two columns, then an event at the end of the chain for every row of the sealed tables."""
    with op.batch_alter_table("audit_events") as table:
        table.add_column(sa.Column("content_of", sa.String(length=120), nullable=True))
        table.add_column(sa.Column("content_sha256", sa.String(length=64), nullable=True))
    connection = op.get_bind()
    last = connection.execute(sa.select(_events.c.id, _events.c.hash).order_by(_events.c.id.desc()).limit(1)).first()
    number, previous = (last.id, last.hash) if last else (0, GENESIS)
    links = list(_links(connection, number, previous))
    if links:
        connection.execute(sa.insert(_events), [_row(link) for link in links])
        context.config.attributes[ADDED_EVENTS] = AddedEvents(number + 1, links[-1].number, links[-1].hash)


def downgrade() -> None:
    """Refuse: it would delete the proof of what was said."""
    raise NotImplementedError("the audit trail is never loosened: restore the backup made before the upgrade instead")


def _links(connection: sa.Connection, number: int, previous: str) -> Iterator[Link]:
    tables = sa.MetaData()
    tables.reflect(connection)
    cases = dict(_accessions(connection))
    for sealed in _TABLES:
        for content in list(compute_seals(connection, sealed, tables)):
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
