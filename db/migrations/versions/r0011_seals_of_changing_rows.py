"""Seal what gives a read its meaning and changes: accounts with what belongs to them, cases, images, jobs, studies."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from db.audit.seals import LinkedTable, SealedTable, Unfinished
from db.migrations.sealing import add_seals, compute_existing_seals
from db.values.audit import Seal

revision = "0011"
down_revision = "0010"

_TABLES = (
    SealedTable("cases", (LinkedTable("images", "case_id"), LinkedTable("case_numbers", "case_id"))),
    SealedTable("jobs", unfinished=Unfinished("state", ("queued", "running"))),
    SealedTable(
        "accounts",
        (
            LinkedTable("credentials", "account_id"),
            LinkedTable("api_tokens", "account_id"),
            LinkedTable("identities", "account_id"),
            LinkedTable("sign_ins", "account_id", until="ended_at", without=("idle_until",)),
        ),
    ),
)
_CLOSED = "SELECT id FROM studies WHERE closed_at IS NOT NULL"
_ORDERS = (LinkedTable("study_places", "study_id"),)
_STUDIES = SealedTable("studies", _ORDERS)
_STUDIES_AS_MADE = SealedTable("studies", _ORDERS, without=("closed_at",))


def upgrade() -> None:
    """Add an event at the end of the chain for every row of the tables that are sealed from now on."""
    connection = op.get_bind()
    add_seals(connection, [*compute_existing_seals(connection, _TABLES), *_closed_studies(connection)])


def downgrade() -> None:
    """Refuse: it would delete the proof of what was said."""
    raise NotImplementedError("the audit trail is never loosened: restore the backup made before the upgrade instead")


def _closed_studies(connection: sa.Connection) -> Iterator[Seal]:
    """Seal the closed studies again: until now a seal left out when a study was closed.

    A study that no longer matches its seal is left as it is, so that the verification goes on to report it.
    """
    query = "SELECT content_of, content_sha256 FROM audit_events WHERE content_of LIKE 'studies %' ORDER BY id"
    told = {of: Seal(of, sha256) for of, sha256 in connection.execute(sa.text(query))}
    as_made = compute_existing_seals(connection, [_STUDIES_AS_MADE])
    unchanged = {seal.of for seal in as_made if told.get(seal.of) == seal}
    closed = {f"studies {number}" for number in connection.scalars(sa.text(_CLOSED))}
    for seal in compute_existing_seals(connection, [_STUDIES]):
        if seal.of in closed & unchanged:
            yield seal
