"""Turn the audit trail into a hash chain; existing events are chained in their order."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from db.audit.chain import GENESIS, Link
from db.migrations.protection import change_and_keep_as_written
from db.tables import UtcDateTime

revision = "0003"
down_revision = "0002"

# The action of the event that marks the start of the chain; also in db.values.reading, and never to be changed.
_CHAINED = "audit trail chained"

_events = sa.table(
    "audit_events",
    sa.column("id", sa.Integer),
    sa.column("at", UtcDateTime),
    sa.column("account_id", sa.Integer),
    sa.column("action", sa.String),
    sa.column("subject", sa.String),
    sa.column("previous_hash", sa.String),
    sa.column("hash", sa.String),
)


def upgrade() -> None:
    """Add the two columns and fill them; none may be empty, and no two events may follow the same one."""
    with change_and_keep_as_written("audit_events"):
        with op.batch_alter_table("audit_events") as table:
            table.add_column(sa.Column("previous_hash", sa.String(length=64), nullable=True))
            table.add_column(sa.Column("hash", sa.String(length=64), nullable=True))
        _chain()
        with op.batch_alter_table("audit_events") as table:
            table.alter_column("previous_hash", existing_type=sa.String(length=64), nullable=False)
            table.alter_column("hash", existing_type=sa.String(length=64), nullable=False)
            table.create_unique_constraint(op.f("uq_audit_events_previous_hash"), ["previous_hash"])


def downgrade() -> None:
    """Refuse: it would delete the proof of who said what."""
    raise NotImplementedError("the audit trail is never loosened: restore the backup made before the upgrade instead")


def _chain() -> None:
    """Chain the existing events, then add one that records their number."""
    connection = op.get_bind()
    known = connection.execute(sa.select(_events).order_by(_events.c.id)).all()
    previous, filled = GENESIS, []
    for row in known:
        link = Link(previous, row.id, row.at, row.account_id, row.action, row.subject)
        filled.append({"of": row.id, "previous_hash": previous, "hash": link.hash})
        previous = link.hash
    if not known:
        return
    connection.execute(sa.update(_events).where(_events.c.id == sa.bindparam("of")), filled)
    number, now, subject = known[-1].id + 1, datetime.now(UTC), f"{len(known)} events before this one"
    link = Link(previous, number, now, None, _CHAINED, subject)
    last = {"id": number, "at": now, "account_id": None, "action": _CHAINED, "subject": subject}
    connection.execute(sa.insert(_events), [last | {"previous_hash": previous, "hash": link.hash}])
