"""Dialects whose engines share what SQLAlchemy compiled: each test opens databases of its own, with the same SQL.

Compiling is a third of the time of a test of the store. A server opens its database once and needs none of this.
"""

from sqlalchemy import Engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

_COMPILED: LRUCache[object, object] = LRUCache(2000)


class _SharesCompiled:
    """Makes all dialects of one class one key of the cache, and hands that cache to each new engine."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        engine.update_execution_options(compiled_cache=_COMPILED)


class SharingSqlite(_SharesCompiled, SQLiteDialect_pysqlite):
    """SQLite through the driver of the standard library."""

    supports_statement_cache = True


class SharingPostgresql(_SharesCompiled, PGDialect_psycopg):
    """PostgreSQL through psycopg."""

    supports_statement_cache = True


def share_compiled_statements() -> None:
    """Let every engine that this process makes from now on use these dialects."""
    registry.register("sqlite", __name__, SharingSqlite.__name__)
    registry.register("postgresql.psycopg", __name__, SharingPostgresql.__name__)
