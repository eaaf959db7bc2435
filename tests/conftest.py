"""What several tests share: the real data beside the project, and images made on the spot."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from db.session import Sessions, open_database

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


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


@contextmanager
def empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database of the kind that a fixture is asked for, until the block ends."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'second_read.sqlite'}"
        return
    server = make_url(request.getfixturevalue("postgres_server")).set(drivername="postgresql+psycopg")
    engine = create_engine(server)
    # A schema of its own is as empty as a database of its own, and made a hundred times faster.
    name = f"test_{uuid.uuid4().hex}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    yield server.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    """Sessions of an empty database with all its tables, once on SQLite and once on PostgreSQL."""
    opened = open_database(database_url)
    yield opened
    opened.dispose()
