"""A row of a sealed table that somebody edits, deletes, adds or swaps behind the program's back is found and named."""

import random
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Boolean, Connection, DateTime, Float, Integer, inspect, text

from db import tables
from tests.helpers.stress import amount
from tests.helpers.tampering import READS, fill_database, findings_of, rows_named, without_triggers

TAMPERINGS = amount(200, 24)
READ_COLUMNS = [column.name for column in tables.Base.metadata.tables["reads"].columns]

Chance = random.Random


def other(value: object, kind: object) -> object:
    """Give a value that is not the one that stands there, and fits the column."""
    if isinstance(kind, Boolean):
        return not value
    if isinstance(kind, Float):
        return float(value or 0) + 1e-9 if isinstance(value, float | None) else 0.5
    if isinstance(kind, Integer):
        return 1 if value is None else int(str(value)) + 100
    if isinstance(kind, DateTime):
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        assert isinstance(at, datetime)
        moved = at + timedelta(microseconds=1)
        return str(moved) if isinstance(value, str) else moved
    return "x" if value is None else f"{value}x"


def edit(connection: Connection, table: str, column: str, where: str) -> object:
    """Change one column of one row to something else, and give what stood there."""
    query = text(f"SELECT {column} FROM {table} WHERE {where}")  # noqa: S608
    kinds = {one["name"]: one["type"] for one in inspect(connection).get_columns(table)}
    before = connection.execute(query).scalar_one()
    value = other(before, kinds[column])
    changed = connection.execute(text(f"UPDATE {table} SET {column} = :value WHERE {where}"), {"value": value})  # noqa: S608
    assert changed.rowcount == 1
    return before


def test_an_edit_of_any_column_of_a_read_is_found(sealed_url: str, tmp_path: Path) -> None:
    for number, column in enumerate(READ_COLUMNS):
        row = 1 + number % READS
        with without_triggers(sealed_url) as connection:
            before = edit(connection, "reads", column, f"id = {row}")
        named = rows_named(findings_of(sealed_url, tmp_path))
        # Under another number it is a row that nobody told of, and the one that was told of is gone.
        moved = {("missing", f"reads {row}"), ("inserted", f"reads {row + 100}")}
        if column != "id":
            assert named == {("changed", f"reads {row}")}, column
        else:
            assert moved <= named <= {*moved, ("changed", f"reads {row}")}
            row += 100
        with without_triggers(sealed_url) as connection:
            words = text(f"UPDATE reads SET {column} = :before WHERE id = {row}")  # noqa: S608
            connection.execute(words, {"before": before})
    assert findings_of(sealed_url, tmp_path) == ()


def insert_copy(connection: Connection, of: int, number: int) -> None:
    names = ", ".join(column for column in READ_COLUMNS if column not in ("id", "supersedes_id"))
    words = f"INSERT INTO reads (id, {names}) SELECT {number}, {names} FROM reads WHERE id = {of}"  # noqa: S608
    connection.exec_driver_sql(words)


def exchange_numbers(connection: Connection, first: int, second: int) -> None:
    for old, new in ((first, -1), (second, first), (-1, second)):
        connection.exec_driver_sql(f"UPDATE reads SET id = {new} WHERE id = {old}")  # noqa: S608


# Each is done after the one before it; what was found stays found.
WAYS: tuple[tuple[str, set[tuple[str, str]]], ...] = (
    ("DELETE FROM reads WHERE id = 5", {("missing", "reads 5")}),
    ("DELETE FROM read_predictions WHERE read_id = 2 AND prediction_id = 1", {("changed", "reads 2")}),
    ("INSERT INTO read_predictions VALUES (1, 3)", {("changed", "reads 1")}),
    ("UPDATE predictions SET malignant_probability = 0.9 WHERE id = 2", {("changed", "predictions 2")}),
    ("UPDATE predictions SET classes = '[]' WHERE id = 3", {("changed", "predictions 3")}),
    ("UPDATE evaluated_images SET label = 'x' WHERE position = 1", {("changed", "evaluations 1")}),
    ("UPDATE deployments SET name = 'b'", {("changed", "deployments 1")}),
    ("DELETE FROM shifts", {("missing", "shifts 1")}),
    ("DELETE FROM deployments", {("missing", "deployments 1")}),
    ("DELETE FROM reads WHERE id > 2", {("missing", f"reads {number}") for number in range(3, READS + 1)}),
)


def test_what_is_done_to_any_sealed_table_is_found(sealed_url: str, tmp_path: Path) -> None:
    expected: dict[str, str] = {}
    for words, found in WAYS:
        with without_triggers(sealed_url) as connection:
            connection.exec_driver_sql(words)
        expected |= {row: kind for kind, row in found}
        findings = findings_of(sealed_url, tmp_path)
        assert {one.row: one.kind for one in findings} == expected, words
        assert all(one.first > 0 for one in findings)


def test_a_row_that_somebody_adds_or_exchanges_with_another_is_found(sealed_url: str, tmp_path: Path) -> None:
    with without_triggers(sealed_url) as connection:
        insert_copy(connection, 3, 70)
        exchange_numbers(connection, 5, 9)
    named = rows_named(findings_of(sealed_url, tmp_path))
    assert named == {("inserted", "reads 70"), ("changed", "reads 5"), ("changed", "reads 9")}


def test_a_value_that_the_program_could_not_read_is_found_and_stops_nothing(tmp_path: Path) -> None:
    sealed_url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    fill_database(sealed_url, tmp_path).dispose()
    with without_triggers(sealed_url) as connection:
        connection.exec_driver_sql("UPDATE reads SET saved_at = 'yesterday' WHERE id = 1")
        connection.exec_driver_sql("UPDATE reads SET note = x'00ff' WHERE id = 3")
        connection.exec_driver_sql("UPDATE reads SET model_visible = 2 WHERE id = 5")
        connection.exec_driver_sql("UPDATE predictions SET probabilities = '[0.1' WHERE id = 1")
    named = rows_named(findings_of(sealed_url, tmp_path))
    assert named == {("changed", row) for row in ("reads 1", "reads 3", "reads 5", "predictions 1")}


def random_edit(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    column, row = chance.choice([name for name in READ_COLUMNS if name != "id"]), chance.randint(1, READS)
    edit(connection, "reads", column, f"id = {row}")
    return {("changed", f"reads {row}")}


def random_delete(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    gone = chance.sample(range(1, READS + 1), chance.randint(1, 3))
    for row in gone:
        connection.exec_driver_sql(f"DELETE FROM reads WHERE id = {row}")  # noqa: S608
    return {("missing", f"reads {row}") for row in gone}


def random_copy(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    number = READS + chance.randint(1, 90)
    insert_copy(connection, chance.randint(1, READS), number)
    return {("inserted", f"reads {number}")}


def random_exchange(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    first, second = chance.sample(range(1, READS + 1), 2)
    exchange_numbers(connection, first, second)
    return {("changed", f"reads {row}") for row in (first, second)}


def random_shown(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    reads = [row for (row,) in connection.exec_driver_sql("SELECT DISTINCT read_id FROM read_predictions")]
    row = chance.choice(sorted(reads))
    shown = f"(SELECT min(prediction_id) FROM read_predictions WHERE read_id = {row})"  # noqa: S608
    words = f"UPDATE read_predictions SET prediction_id = 99 WHERE read_id = {row} AND prediction_id = {shown}"  # noqa: S608
    connection.exec_driver_sql(words)
    return {("changed", f"reads {row}")}


RANDOM = (random_edit, random_edit, random_delete, random_copy, random_exchange, random_shown)


@pytest.mark.slow
def test_random_tamperings_with_reads_are_all_found_and_nothing_else_is_named(tmp_path: Path) -> None:
    made = tmp_path / "made"
    fill_database(f"sqlite:///{made / 'a.sqlite'}", made).dispose()
    missed = []
    for number in range(TAMPERINGS):
        folder = tmp_path / str(number)
        shutil.copytree(made, folder)
        sealed_url = f"sqlite:///{folder / 'a.sqlite'}"
        way = RANDOM[number % len(RANDOM)]
        with without_triggers(sealed_url) as connection:
            expected = way(connection, random.Random(number))  # noqa: S311 (no secret)
        if (named := rows_named(findings_of(sealed_url, folder))) != expected:
            missed.append((number, way.__name__, expected, named))
        shutil.rmtree(folder)
    assert missed == []
