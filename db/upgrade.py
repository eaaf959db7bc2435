"""Create or upgrade the tables of a database; safe when several processes start at once."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.orm import Session

from db import tables
from db.audit.chain import ADDED_EVENTS, AddedEvents
from db.errors import UnusableDatabaseError
from db.projection.write import rebuild

_MIGRATIONS = Path(__file__).resolve().parent / "migrations"
# Any number, but the same in every process: two that start at once upgrade one after the other.
_LOCK = 0x5EC0_4D4E


def upgrade(connection: Connection) -> AddedEvents | None:
    """Create or change the tables inside the open transaction of this connection.

    On SQLite it must be a write transaction with foreign keys switched off.

    Returns:
        The events that this added to the audit trail, which must still be recorded in the anchor file.

    Raises:
        UnusableDatabaseError: If the database is newer than this program, or not a Second Read database.
    """
    if connection.dialect.name == "postgresql":
        _wait_for_other_upgrade(connection)
    revision = _revision(connection)
    if revision == _revisions()[0]:
        return None
    if revision is None:
        _refuse_foreign_tables(connection)
    elif revision not in _revisions():
        raise UnusableDatabaseError(
            f"the database belongs to a newer version of Second Read (its tables are at revision {revision}): "
            "install that version, or restore the backup made before the upgrade"
        )
    config = alembic_config(connection)
    command.upgrade(config, "head")
    # Not in a revision: it needs the tables as they are now, and any revision may change what follows from the rows.
    rebuild(Session(connection))
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise UnusableDatabaseError(
            "the upgrade was cancelled and nothing was changed: it would leave rows that refer to missing rows"
        )
    added = config.attributes.get(ADDED_EVENTS)
    return added if isinstance(added, AddedEvents) else None


def require_current(connection: Connection) -> None:
    """Refuse a database that must be created or upgraded first.

    Raises:
        UnusableDatabaseError: If its tables are not at the current revision; the message says what to do.
    """
    revision = _revision(connection)
    if revision != _revisions()[0]:
        raise UnusableDatabaseError(
            f"the tables of the database are at revision {revision}, not {_revisions()[0]}: "
            "start this version of Second Read once to upgrade it, or use the version that created it"
        )


def _wait_for_other_upgrade(connection: Connection) -> None:
    """Wait as long as another process upgrades this database, which may take minutes."""
    limit = connection.scalar(text("SHOW lock_timeout"))
    set_limit = text("SELECT set_config('lock_timeout', :limit, true)")
    connection.execute(set_limit, {"limit": "0"})
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    connection.execute(set_limit, {"limit": limit})


def _revision(connection: Connection) -> str | None:
    """Return the revision of the tables; None before they are made."""
    try:
        return MigrationContext.configure(connection).get_current_revision()
    except CommandError as error:
        raise UnusableDatabaseError(
            "the tables of the database belong to several revisions at once (table alembic_version): "
            "restore the backup made before that"
        ) from error


def alembic_config(connection: Connection) -> Config:
    """Configure Alembic for a connection, independent of the working directory."""
    config = _config()
    config.attributes["connection"] = connection
    return config


def _config() -> Config:
    config = Config()
    # Alembic's configuration treats a percent sign in a path as a placeholder.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


@cache
def _revisions() -> tuple[str, ...]:
    # The newest first. Kept, because Alembic runs every file to learn them, which takes longer than all else here.
    return tuple(known.revision for known in ScriptDirectory.from_config(_config()).walk_revisions())


def _refuse_foreign_tables(connection: Connection) -> None:
    present = set(inspect(connection).get_table_names()) & set(tables.Base.metadata.tables)
    if present:
        raise UnusableDatabaseError(
            f"this is not a Second Read database, but it already has the tables {', '.join(sorted(present))}"
        )
