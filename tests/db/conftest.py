"""Databases that the tests of the store share, and one with sealed rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.database import Sessions, open_database
from db.projection.check import find_differences
from tests.helpers.databases import new_database
from tests.helpers.tampering import fill_database


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_sessions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    """Sessions of one database for all tests of a module, which costs less than one for each."""
    with new_database(request, tmp_path_factory.mktemp("studies"), tables=True) as url:
        opened = open_database(url)
        yield opened
        with opened.read() as session:
            assert list(find_differences(session)) == [], "the worklists are not what follows from the rows"
        opened.dispose()


@pytest.fixture
def sealed_url(with_tables: None, database_url: str, tmp_path: Path) -> str:
    """URL of a filled database, once on SQLite and once on PostgreSQL."""
    fill_database(database_url, tmp_path).dispose()
    return database_url
