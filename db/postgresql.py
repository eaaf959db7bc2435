"""Prepare a connection to PostgreSQL, so that what the program relies on does not depend on the server's defaults."""

import psycopg
from psycopg import abc
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format

from db.errors import UnusableDatabaseError

# Whatever the server, the database or the role has as its default.
_SETTINGS = {
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    # The driver reads times in no other form.
    "DateStyle": "ISO",
    # With fewer digits a number is not read as it was stored, and no longer fits its seal.
    "extra_float_digits": "1",
    # With quotes, the types of columns are none that SQLAlchemy knows.
    "quote_all_identifiers": "off",
}
# Types of which PostgreSQL has values that Python has not.
_WIDER = ("timestamptz", "timestamp", "date", "time", "timetz", "interval", "json", "jsonb")

PostgresqlConnection = psycopg.Connection[tuple[object, ...]]


def prepare(connection: PostgresqlConnection, busy_seconds: float) -> None:
    """Prepare a new connection.

    Args:
        connection: The connection, in no transaction.
        busy_seconds: How long a statement waits for a lock.

    Raises:
        UnusableDatabaseError: If the database is not in UTF-8.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise UnusableDatabaseError(f"the database is in {encoding}: create one in UTF-8, with ENCODING 'UTF8'")
    values = {**_SETTINGS, "lock_timeout": f"{busy_seconds * 1000:.0f}ms"}
    chosen = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in values.items())
    connection.autocommit = True  # the end of a transaction could take the settings back
    connection.execute(f"SELECT {chosen}".encode())
    connection.autocommit = False
    _keep_unreadable_values(connection)


def _keep_unreadable_values(connection: PostgresqlConnection) -> None:
    """Read as text what only tampering can put there, such as the time infinity, so that it can be found."""
    for name in _WIDER:
        oid = connection.adapters.types[name].oid
        known = connection.adapters.get_loader(oid, Format.TEXT)
        if known is not None:
            connection.adapters.register_loader(oid, _or_text(known))


def _or_text(known: type[abc.Loader]) -> type[Loader]:
    class OrText(Loader):
        def __init__(self, oid: int, context: abc.AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._known = known(oid, context)

        def load(self, data: Buffer) -> object:
            try:
                return self._known.load(data)
            except (psycopg.DataError, RecursionError):  # the latter for JSON that is nested too deeply
                return bytes(data).decode()

    return OrText
