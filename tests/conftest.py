"""What several tests share: the real data beside the project, and images made on the spot."""

import gc
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import settings
from sqlalchemy import URL, make_url

from db.database import Sessions, open_database
from db.projection.check import find_differences
from db.store import accounts
from tests.helpers.backups import DataFolder, make_data_folder
from tests.helpers.compiled_statements import share_compiled_statements
from tests.helpers.databases import copy_database, new_database, run_on_server
from tests.helpers.stress import FULL, FULL_TIMEOUT
from tests.helpers.tampering import TAMPERED_URLS

# No test of a property judges how long an example takes: that is the machine's doing. Every day the examples are the
# same on each machine; full counts draw new ones.
settings.register_profile("second_read", deadline=None, derandomize=not FULL)
settings.load_profile("second_read")
share_compiled_statements()

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones: left to the end, one of them would keep the other cores waiting.

    With full counts each of them may take longer.
    """
    items.sort(key=lambda item: not any(item.iter_markers("slow")) and not any(item.iter_markers("browser")))
    for item in items if FULL else ():
        item.add_marker(pytest.mark.timeout(FULL_TIMEOUT))


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
    """URL of a database of its own, once on SQLite and once on PostgreSQL; empty, unless `with_tables` is asked for."""
    with new_database(request, tmp_path, tables="with_tables" in request.fixturenames) as url:
        yield url


@pytest.fixture
def with_tables() -> None:
    """Ask `database_url` for all tables."""


@pytest.fixture
def sessions(with_tables: None, database_url: str) -> Iterator[Sessions]:
    """Sessions of an empty database with all its tables, once on SQLite and once on PostgreSQL."""
    opened = open_database(database_url)
    yield opened
    if database_url not in TAMPERED_URLS:
        with opened.read() as session:
            assert list(find_differences(session)) == [], "the worklists are not what follows from the rows"
    opened.dispose()


@pytest.fixture(scope="session")
def tables_on_postgresql(postgres_server: str) -> Iterator[URL]:
    """URL of a database that has all its tables and nothing in them."""
    server = make_url(postgres_server).set(drivername="postgresql+psycopg")
    template = server.set(database=f"tables_{uuid.uuid4().hex}")
    copy_database(server, "template1", str(template.database))
    open_database(template.render_as_string(hide_password=False)).dispose()
    yield template
    run_on_server(server, f"DROP DATABASE {template.database}")


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Real Argon2 with little memory: at full strength every sign-in of every test would take its time."""
    monkeypatch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    accounts._unused_hash.cache_clear()
    yield
    accounts._unused_hash.cache_clear()


@pytest.fixture
def data_folder(tmp_path: Path) -> DataFolder:
    """An installation to back up: three cases of one image each, read once."""
    return make_data_folder(tmp_path / "data")
