"""A database with as many cases as wanted: some are read through the store, and then copied by the database itself.

The copies are rows as the store writes them, with numbers and hashes of their own; only their audit events are not
chained. `python -m db check --rebuild` then makes the worklists.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, func, make_url, select, text

from core.labels import BINARY, Malignancy
from core.results import Analysis, Prediction, Quality
from db import store
from db.database import Sessions, open_database
from db.values.accounts import Role
from db.values.reading import ModelIdentity, Opinion, StoredImage

BASE = 200  # cases that are read one by one; twice as many readings
# Of 20 cases in a row, those that nobody has read yet, those begun by the first reader, and those that both finished.
_ROW, _UNREAD, _BEGUN = 20, 2, 1
_MODEL = ModelIdentity("0123456789ab", "benchmark", demonstration=True)
_QUALITY = Quality(41.5, 0.62, ())
# In the order in which their rows refer to each other.
_COPIED = (
    *("cases", "case_numbers", "images", "jobs", "predictions"),
    *("reads", "read_predictions", "read_images", "assignments", "priorities", "audit_events"),
)
# Hashes of copies: the last seven digits are replaced by an F, which no hash has, and the number of the copy.
_HASHES = ("source_sha256", "file_sha256", "heatmap_sha256", "hash", "previous_hash")
_PREFIX = "S24-"


@dataclass(frozen=True, slots=True)
class ManyCases:
    """A database, the two readers of its cases, and a case that the first has finished."""

    url: str
    readers: tuple[int, int]
    finished: int


def make_many_cases(url: str, cases: int) -> ManyCases:
    """Fill an empty database; `cases` is a multiple of `BASE`."""
    sessions = open_database(url)
    readers = _read_base(sessions)
    sessions.dispose()
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg") if "postgresql" in url else url)
    with engine.begin() as connection:
        if cases > BASE:
            _copy(connection, cases // BASE - 1)
    _settle(engine)
    engine.dispose()
    subprocess.run(
        [sys.executable, "-m", "db", "check", "--rebuild"],
        check=True,
        env={**os.environ, "SECOND_READ_DATABASE": url},
        stdout=subprocess.DEVNULL,
    )
    return ManyCases(url, readers, finished=_UNREAD + _BEGUN + 1)


def _read_base(sessions: Sessions) -> tuple[int, int]:
    with sessions.begin() as session:
        one, other = (store.accounts.add_account(session, f"dr. {name}", Role.READER).id for name in "ab")
    for number in range(1, BASE + 1):
        _add_case(sessions, number, one)
        place = (number - 1) % _ROW
        if place >= _UNREAD + _BEGUN:
            _read(sessions, number, one, _says_malignant(number))
            # One case in ten is discordant.
            _read(sessions, number, other, _says_malignant(number) != (number % 10 == 0))
        elif place >= _UNREAD:
            with sessions.begin() as session:
                store.reads.record_first_read(session, number, one, Opinion("benign", 4), datetime.now(UTC))
    return one, other


def _add_case(sessions: Sessions, number: int, account_id: int) -> None:
    source, pixels = (hashlib.sha256(f"{what} {number}".encode()).hexdigest() for what in ("source", "pixels"))
    with sessions.begin() as session:
        case_id = store.cases.add_case(
            session,
            account_id,
            accession=f"{_PREFIX}{number}",
            magnification=("40X", "100X", "200X", "400X")[number % 4],
        )
        store.cases.add_image(session, case_id, StoredImage(source, pixels, 460, 700, _QUALITY))
        if number % 50 == 0:
            store.planning.set_priority(session, account_id, [case_id], urgent=True)
    with sessions.begin() as session:
        job = store.jobs.claim_job(session, "benchmark")
        if job is not None:
            probability = (0.1 if number % 3 else 0.7) + number / (10 * BASE)
            prediction = Prediction(BINARY, (1 - probability, probability), 0.5, 3, 9)
            analysis = Analysis(460, 700, _QUALITY, prediction)
            store.jobs.finish_job(session, job, "benchmark", analysis, model=_MODEL, heatmap=None)


def _says_malignant(number: int) -> bool:
    return number % 3 == 0


def _read(sessions: Sessions, number: int, reader: int, malignant: bool) -> None:
    now = datetime.now(UTC)
    label: Malignancy = "malignant" if malignant else "benign"
    reason = None if malignant == _says_malignant(number) else "context"
    confidence = 1 + (number * reader) % 5
    with sessions.begin() as session:
        store.reads.record_first_read(session, number, reader, Opinion(label, confidence), now)
    with sessions.begin() as session:
        store.reads.record_final_read(session, number, reader, Opinion(label, confidence, reason=reason), now)
        store.reads.end_undo(session, reader)


def _copy(connection: Connection, copies: int) -> None:
    """Copy all rows so many times; ids are raised by the number of rows in the table that they refer to."""
    found = MetaData()
    found.reflect(connection, only=_COPIED, resolve_fks=False)
    tables = [found.tables[name] for name in _COPIED]
    blocks = {one.name: connection.scalar(select(func.max(one.c.id))) or 0 for one in tables if "id" in one.c}
    numbers = f"WITH RECURSIVE copies(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < {copies})"  # noqa: S608
    for table in tables:
        columns = ", ".join(column.name for column in table.columns)
        values = ", ".join(_copied(table, column.name, blocks) for column in table.columns)
        # Of the events only those of cases: others are about images and accounts.
        rows = f" WHERE subject LIKE '{_PREFIX}%' AND subject NOT LIKE '% %'" if table.name == "audit_events" else ""
        base = f"(SELECT * FROM {table.name}{rows}) AS base"  # noqa: S608 (names of our own tables)
        insert = f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM copies CROSS JOIN {base}"  # noqa: S608
        connection.execute(text(f"{numbers} {insert}"))


def _copied(table: Table, column: str, blocks: Mapping[str, int]) -> str:
    """Return the value of a column in a copy, in SQL."""
    refers = {key.parent.name: key.target_fullname.split(".")[0] for key in table.foreign_keys}
    of = table.name if column == "id" else refers.get(column, "")
    if of in blocks:
        return f"base.{column} + n * {blocks[of]}"
    cases = blocks["cases"]
    if column in _HASHES:
        return f"substr(base.{column}, 1, 57) || 'F' || CAST(100000 + n AS VARCHAR(6))"
    if column in ("accession", "subject", "folded"):
        start = _PREFIX.lower() if column == "folded" else _PREFIX
        return (
            f"'{start}' || CAST(CAST(substr(base.{column}, {len(start) + 1}) AS INTEGER) + n * {cases} AS VARCHAR(9))"
        )
    return f"base.{column}"


def _settle(engine: Engine) -> None:
    """Let PostgreSQL count on from the copied rows, and gather the statistics that its autovacuum gathers later."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in ("cases", "images", "jobs", "predictions", "reads", "assignments", "priorities"):
            highest = f"(SELECT max(id) FROM {name})"  # noqa: S608 (names of our own tables)
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), coalesce({highest}, 1))"))
        connection.execute(text("VACUUM ANALYZE"))
