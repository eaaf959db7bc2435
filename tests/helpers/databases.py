"""Empty databases on SQLite and PostgreSQL, and such that have all their tables: copied, which is quicker than made."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from sqlalchemy import URL, make_url

from db.database import Sessions, open_database


def open_new(path: Path, *, data: Path | None = None) -> Sessions:
    """Open a database of SQLite that did not exist, with all its tables and nothing in them."""
    copy_tables(path)
    return open_database(f"sqlite:///{path}", data=data)


def copy_tables(path: Path) -> None:
    """Write an SQLite file that has all the tables and nothing in them."""
    assert not path.exists(), path
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_made().name + "/tables.sqlite", path)


@contextmanager
def new_database(request: pytest.FixtureRequest, folder: Path, *, tables: bool) -> Iterator[str]:
    """Yield the URL of a database of the kind that a fixture is asked for, empty or with all tables, until the end."""
    if request.param == "sqlite":
        path = folder / "second_read.sqlite"
        if tables:
            copy_tables(path)
        yield f"sqlite:///{path}"
        return
    server = make_url(request.getfixturevalue("postgres_server")).set(drivername="postgresql+psycopg")
    template = str(request.getfixturevalue("tables_on_postgresql").database) if tables else "template1"
    name = f"test_{uuid.uuid4().hex}"
    copy_database(server, template, name)
    yield server.set(database=name).render_as_string(hide_password=False)
    run_on_server(server, f"DROP DATABASE {name} WITH (FORCE)")


def copy_database(server: URL, template: str, name: str) -> None:
    """Make a database as a copy of another: its files are copied, which takes a tenth of the time of writing a log."""
    with _administrator(server) as connection:
        # Before version 15 there was no other way, and no word for it.
        strategy = "STRATEGY file_copy" if connection.info.server_version >= 150000 else ""
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}".encode())


def run_on_server(server: URL, *statements: str) -> None:
    """Run statements outside the databases of the tests and outside a transaction, as PostgreSQL demands of some."""
    with _administrator(server) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _administrator(server: URL) -> "psycopg.Connection[tuple[object, ...]]":
    address = server.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)


@cache
def _made() -> "TemporaryDirectory[str]":
    # Kept by the cache until the process ends, and removed then.
    folder = TemporaryDirectory(prefix="second-read-tables-")
    open_database(f"sqlite:///{folder.name}/tables.sqlite").dispose()
    return folder
