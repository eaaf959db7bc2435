"""A database that readers used in part 1 is upgraded by processes that are killed: no row is lost."""

import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, event, inspect, make_url, text

from db import store
from db.audit.verify import verify
from db.database import open_database
from db.projection.check import find_differences
from db.upgrade import alembic_config
from db.values.reading import Opinion, Stage
from tests.helpers.stress import amount

pytestmark = pytest.mark.slow

KILLS = amount(200, 4)
CASES, READERS = 25, 3
_AT = datetime(2026, 3, 1, 9, 30)  # noqa: DTZ001 (as SQLite keeps it)
_INSERTS = {
    "accounts": "(:id, :word, 'reader', :at)",
    "cases": "(:id, :word, NULL, '100X', :no, 1, :at)",
    "images": "(:id, :id, 1, :word, :word, 460, 700, 41.5, 0.62, '[]', :at)",
    "predictions": (
        "(:id, :id, '3f9a1c22b0e4', 'starter', :yes, 'binary', '[\"benign\", \"malignant\"]', '[\"malignant\"]', "
        "'[0.2, 0.8]', 0.8, 0.4, 3, 9, NULL, NULL, NULL, :at)"
    ),
    "jobs": "(:id, :id, 'done', 1, NULL, NULL, :at, :at, :at, :at)",
}
_FIRST = "(:id, :case, :reader, 'first', 'benign', 4, NULL, :word, NULL, NULL, :no, NULL, NULL, :at, :at, NULL)"
_FINAL = (
    "(:id, :case, :reader, 'final', 'malignant', 3, NULL, :word, 'quality', 'no', :yes, 0.8, 0.4, :at, :at, :before)"
)
_EVENT = "(:id, :at, :reader, 'case opened', :word)"
_SEEN = "(:id, :case)"

_Rows = dict[str, list[tuple[object, ...]]]
_Columns = dict[str, list[str]]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.server.test_killed_upgrade"])


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    return create_engine(parsed.set(drivername="postgresql+psycopg") if "postgresql" in url else parsed)


def _used_database(url: str) -> _Columns:
    """Make a database of the first revision in which readers have worked; give its columns."""
    engine = _engine(url)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
        for table, values in _INSERTS.items():
            many = READERS if table == "accounts" else CASES
            rows = [_values(number) for number in range(1, many + 1)]
            connection.execute(text(f"INSERT INTO {table} VALUES {values}"), rows)  # noqa: S608
        for row in _readings():
            values = _FINAL if row["final"] else _FIRST
            connection.execute(text(f"INSERT INTO reads VALUES {values}"), row)  # noqa: S608
            if row["final"]:
                connection.execute(text(f"INSERT INTO read_predictions VALUES {_SEEN}"), row)  # noqa: S608
            connection.execute(text(f"INSERT INTO audit_events VALUES {_EVENT}"), row)  # noqa: S608
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT setval('reads_id_seq', {row['id']})"))
        found = inspect(connection)
        columns = {name: [one["name"] for one in found.get_columns(name)] for name in found.get_table_names()}
    engine.dispose()
    return columns


def _values(number: int) -> dict[str, object]:
    return {"id": number, "word": f"row {number}", "at": _AT + timedelta(hours=number), "yes": True, "no": False}


def _readings() -> Iterator[dict[str, object]]:
    """Give a first read, a final read and, of some, an amendment of every case by every reader."""
    number = 0
    for case in range(1, CASES + 1):
        for reader in range(1, READERS + 1):
            last = None
            for kind in range(3 if (case + reader) % 4 == 0 else 2):
                number += 1
                yield _values(number) | {"case": case, "reader": reader, "final": kind > 0, "before": last}
                last = number if kind > 0 else None


def _rows(url: str, columns: _Columns) -> _Rows:
    """Give every row, in the columns that the first revision had."""
    engine = _engine(url)
    with engine.connect() as connection:
        found: _Rows = {}
        for table, names in columns.items():
            query = text(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1")  # noqa: S608
            found[table] = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return found


def _open_and_die(url: str, data: Path, strike_at: int, said: "Connection[int, int]") -> None:
    """Upgrade, and be killed at one of the statements; with 0, say how many there are and be killed at the commit."""
    statements = 0

    def strike(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements == strike_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def tell(_: object) -> None:
        said.send(statements)
        os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", strike)
    event.listen(Engine, "commit", tell)
    open_database(url, data=data)


def _killed_upgrade(url: str, data: Path, strike_at: int) -> int | None:
    """Upgrade in another process until it is killed; give what it said before."""
    heard, said = _context.Pipe(duplex=False)
    process = _context.Process(target=_open_and_die, args=(url, data, strike_at, said))
    process.start()
    said.close()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    try:
        told: int = heard.recv()
    except EOFError:
        return None
    return told


def _assert_finished(url: str, data: Path, columns: _Columns, before: _Rows) -> None:
    """Start as the server does, and look that nothing is missing and that it can be worked with."""
    sessions = open_database(url, data=data)
    after = _rows(url, {name: names for name, names in columns.items() if name != "alembic_version"})
    events = before["audit_events"]
    assert after.pop("audit_events")[: len(events)] == events
    assert after == {name: rows for name, rows in before.items() if name in after}
    assert verify(sessions).findings == ()
    with sessions.read() as session:
        assert sum(store.worklist.state_counts(session, 1).values()) == CASES
        assert list(find_differences(session)) == []
    with sessions.begin() as session:
        reads = store.reads.own_reads(session, 1, case_id=3)
        assert [read.stage for read in reads] == [Stage.FIRST, Stage.FINAL, Stage.FINAL]
        amended = Opinion("benign", 5, note="after the upgrade", reason="borderline")
        store.reads.amend_read(session, 3, 1, amended, reads[-1].opened_at, replaces=reads[-1].id)
    sessions.dispose()


def test_an_upgrade_killed_at_many_points_loses_no_row_and_the_next_start_finishes_it(
    database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    old = folder / "old.sqlite"
    url = f"sqlite:///{old}" if "sqlite" in database_url else database_url
    columns = _used_database(url)
    before = _rows(url, columns)
    assert len(before["reads"]) > 2 * CASES * READERS
    chance = random.Random(9)  # noqa: S311 (when to strike, no secret)
    total = _killed_upgrade(url, folder, 0)
    assert total
    points = [0, *sorted(chance.sample(range(1, total + 1), min(KILLS - 1, total)))]
    for place, point in enumerate(points):
        assert (_killed_upgrade(url, folder, point) is None) is (point > 0)
        assert _rows(url, columns) == before
        if "sqlite" in url and place % 4 == 0:
            # PostgreSQL has one database here: it is brought up to date at the end, once.
            again = tmp_path / f"again {point}"
            shutil.copytree(folder, again)
            _assert_finished(f"sqlite:///{again / old.name}", again, columns, before)
    _assert_finished(url, folder, columns, before)
    print(f"\n{len(points)} kills among {total} statements ({make_url(url).get_backend_name()}): no row lost")
