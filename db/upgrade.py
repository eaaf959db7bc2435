"""Brings the tables of a database up to date, whoever starts first."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from db import tables
from db.audit.chain import ADDED_EVENTS, Added
from db.errors import UnusableDatabaseError

_MIGRATIONS = Path(__file__).resolve().parent / "migrations"
# Any number, but the same in every process: two that start at once upgrade one after the other.
_LOCK = 0x5EC0_4D4E


def upgrade(connection: Connection) -> Added | None:
    """Make or change the tables inside the open transaction of this connection.

    On SQLite that transaction must be a writing one, and without foreign keys.

    Returns:
        The events that this added to the audit trail, which are still to be anchored.

    Raises:
        UnusableDatabaseError: If the database is newer than this program, or no database of ours.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = alembic_config(connection)
    script = ScriptDirectory.from_config(config)
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision == script.get_current_head():
        return None
    if revision is None:
        _refuse_foreign_tables(connection)
    elif revision not in {known.revision for known in script.walk_revisions()}:
        raise UnusableDatabaseError(
            f"the database was made by a newer Second Read (its tables are at revision {revision}): "
            "install that version, or restore the backup made before it"
        )
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise UnusableDatabaseError("the upgrade would leave rows that point at nothing; nothing was changed")
    added = config.attributes.get(ADDED_EVENTS)
    return added if isinstance(added, Added) else None


def require_current(connection: Connection) -> None:
    """Refuse a database that the program would have to make or bring up to date first.

    Raises:
        UnusableDatabaseError: With what is to be done.
    """
    script = ScriptDirectory.from_config(alembic_config(connection))
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision != script.get_current_head():
        raise UnusableDatabaseError(
            f"the tables of the database are at revision {revision}, not {script.get_current_head()}: "
            "start this version of Second Read on it once, or look at it with the version that made it"
        )


def alembic_config(connection: Connection) -> Config:
    """Configure Alembic for a connection, wherever the program was started."""
    config = Config()
    # Alembic's configuration treats a percent sign in a path as a placeholder.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _refuse_foreign_tables(connection: Connection) -> None:
    taken = set(inspect(connection).get_table_names()) & set(tables.Base.metadata.tables)
    if taken:
        raise UnusableDatabaseError(f"this is no database of Second Read, yet it has tables {', '.join(sorted(taken))}")
