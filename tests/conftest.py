"""What several tests share: the real data beside the project, and images made on the spot."""

import gc
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from db.session import Sessions, open_database
from tests.helpers.databases import copy_tables

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones: left to the end, one of them would keep the other cores waiting."""
    items.sort(key=lambda item: not any(item.iter_markers("slow")) and not any(item.iter_markers("browser")))


def pytest_collection_finish() -> None:
    """Leave what all the imports made out of every later garbage collection: it stays anyway."""
    gc.freeze()


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Put `__main__` back: Streamlit leaves a page there, and a process that a later test starts would run it."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("SECOND_READ_TEST_DATA", _BESIDE))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set SECOND_READ_TEST_DATA to a folder with breakhis/ in it")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """URL of a PostgreSQL database in which the tests may make schemas; tests/postgres.sh starts one."""
    url = os.environ.get("SECOND_READ_TEST_POSTGRES", "")
    if not url:
        pytest.skip("no PostgreSQL: set SECOND_READ_TEST_POSTGRES, or run tests/run.sh, which starts one if it can")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database of its own, once on SQLite and once on PostgreSQL."""
    with empty_database(request, tmp_path) as url:
        yield url


@pytest.fixture
def sessions(request: pytest.FixtureRequest, database_url: str) -> Iterator[Sessions]:
    """Sessions of an empty database with all its tables, once on SQLite and once on PostgreSQL."""
    with_tables(request, database_url)
    opened = open_database(database_url)
    yield opened
    opened.dispose()


@contextmanager
def empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database of the kind that a fixture is asked for, until the block ends."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'second_read.sqlite'}"
        return
    server = make_url(request.getfixturevalue("postgres_server")).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    _tell(server, f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    _tell(server, f"DROP DATABASE {name} WITH (FORCE)")


def with_tables(request: pytest.FixtureRequest, url: str) -> None:
    """Give an empty database its tables, copied from another."""
    made = make_url(url)
    if made.get_backend_name() == "sqlite":
        copy_tables(Path(str(made.database)))
        return
    template = request.getfixturevalue("tables_on_postgresql")
    _tell(template, f"DROP DATABASE {made.database}", f"CREATE DATABASE {made.database} TEMPLATE {template.database}")


@pytest.fixture(scope="session")
def tables_on_postgresql(postgres_server: str) -> Iterator[URL]:
    """URL of a database that has all its tables and nothing in them."""
    server = make_url(postgres_server).set(drivername="postgresql+psycopg")
    template = server.set(database=f"tables_{uuid.uuid4().hex}")
    _tell(server, f"CREATE DATABASE {template.database}")
    open_database(template.render_as_string(hide_password=False)).dispose()
    yield template
    _tell(server, f"DROP DATABASE {template.database}")


def _tell(server: URL, *statements: str) -> None:
    # Not inside the database that is spoken of, and not in a transaction: PostgreSQL allows neither.
    engine = create_engine(server.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
