"""The revisions make exactly the tables of db.tables, and protect what was written."""

import os
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from db import store, tables
from db.audit.trail import record_event
from db.database import Sessions, open_database
from db.errors import UnusableDatabaseError
from tests.helpers.rows import MALIGNANT, OPENED, evaluated_image, new_evaluation, reading_rows, sha256_of
from tests.helpers.world import revealed_case

NEVER_CHANGED = (
    *("reads", "read_predictions", "predictions", "audit_events"),
    *("evaluations", "evaluated_images", "shifts", "deployments"),
    *("study_places", "assignments", "priorities", "regions", "consensus", "consensus_reads", "sign_offs"),
    *("intakes", "intake_ends", "image_orders", "read_images", "microscope_profiles", "image_scales"),
    *("image_scopes", "read_scopes", "image_embeddings"),
    *("model_confirmations", "site_thresholds", "prediction_permits"),
)
COLUMNS = {
    "read_predictions": "read_id",
    "evaluated_images": "position",
    "consensus_reads": "read_id",
    "intake_ends": "intake_id",
    "read_images": "read_id",
    "read_scopes": "read_id",
}  # one of each table; id where not named


def test_an_empty_database_gets_the_tables_of_the_models_and_nothing_else(
    sessions: Sessions, database_url: str
) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.Base.metadata) == []
        assert set(inspect(connection).get_table_names()) == {*tables.Base.metadata.tables, "alembic_version"}
    engine.dispose()


def test_the_constraints_of_the_revisions_are_those_of_the_models(sessions: Sessions, database_url: str) -> None:
    """Alembic compares neither checks nor the conditions of partial indexes."""
    engine = create_engine(database_url)
    inspector = inspect(engine)
    for name, table in tables.Base.metadata.tables.items():
        wanted = {check.name for check in table.constraints if isinstance(check, CheckConstraint)}
        assert {check["name"] for check in inspector.get_check_constraints(name)} == wanted
    partial = {
        index["name"]: " ".join(str(option) for option in index["dialect_options"].values())
        for index in inspector.get_indexes("reads")
        if index["name"] in ("uq_reads_first", "uq_reads_final")
    }
    assert "'first'" in partial["uq_reads_first"]
    assert "supersedes_id IS NULL" in partial["uq_reads_final"]
    engine.dispose()


def test_the_migrations_run_from_any_working_directory(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_database(database_url).dispose()
    assert "alembic.ini" not in os.listdir(tmp_path)  # noqa: PTH208 (names are what matters)


def test_a_database_newer_than_the_program_is_refused_and_left_alone(sessions: Sessions, database_url: str) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnusableDatabaseError, match="newer version of Second Read"):
        open_database(database_url)
    with sessions.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_a_database_of_another_program_is_refused_and_left_alone(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE images (id INTEGER)"))
    with pytest.raises(UnusableDatabaseError, match="not a Second Read database, but it already has the tables images"):
        open_database(database_url)
    assert inspect(engine).get_table_names() == ["images"]
    engine.dispose()


@pytest.mark.parametrize("table", NEVER_CHANGED)
@pytest.mark.parametrize("change", ["UPDATE {table} SET {column} = {column}", "DELETE FROM {table}"])
def test_what_was_written_can_be_neither_changed_nor_deleted(sessions: Sessions, table: str, change: str) -> None:
    reader = revealed_case(sessions)
    with sessions.begin() as session:
        store.reads.record_final_read(session, reader.case_id, reader.account_id, MALIGNANT, OPENED)
        store.evaluations.add_evaluation(session, new_evaluation(), [evaluated_image(1, True, 0.7)])
        store.evaluations.add_shift(session, "breakhis", "bach", "3f9a1c22b0e4", "{}")
        store.models.put_in_service(session, reader.account_id, "models/a.safetensors", sha256_of("a"), "a")
        session.add_all(reading_rows(reader.case_id, reader.account_id))
    column = COLUMNS.get(table, "id")
    with pytest.raises(DBAPIError, match=f"rows of {table} are added, never changed"), sessions.begin() as session:
        session.execute(text(change.format(table=table, column=column)))


def test_a_row_cannot_be_replaced_by_inserting_over_it(sessions: Sessions) -> None:
    if sessions.dialect != "sqlite":
        pytest.skip("INSERT OR REPLACE is SQLite's")
    with sessions.begin() as session:
        record_event(session, None, "a", "b")
    columns = "id, at, action, subject, previous_hash, hash"
    replace = f"INSERT OR REPLACE INTO audit_events ({columns}) VALUES (1, '2026-01-01', 'x', 'y', 'z', 'z')"  # noqa: S608
    with pytest.raises(DBAPIError, match="never changed"), sessions.begin() as session:
        session.execute(text(replace))


def test_the_tables_cannot_be_emptied_at_once(sessions: Sessions) -> None:
    if sessions.dialect != "postgresql":
        pytest.skip("TRUNCATE is PostgreSQL's")
    with pytest.raises(DBAPIError, match="never changed"), sessions.begin() as session:
        session.execute(text("TRUNCATE audit_events"))
