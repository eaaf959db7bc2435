"""Which rows are sealed and with what, and what of the tables, the trail and the triggers is found besides."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import text

from db import store, tables
from db.audit.chain import GENESIS, Link
from db.audit.rows import reflect_sealed_tables, unchangeable_tables
from db.audit.seals import SEALED, seal
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions, open_as_it_is, open_database
from db.values.adjudication import Severity
from db.values.audit import AuditFinding, Seal
from db.values.evaluations import ThresholdAim
from db.values.reading import Arm
from tests.db.test_migrations import NEVER_CHANGED
from tests.helpers.concurrency import at_once
from tests.helpers.rows import BENIGN, OPENED, stored_image
from tests.helpers.tampering import CASES, READERS, READS, engine_of, findings_of, rows_named, without_triggers
from tests.helpers.world import make_case, make_reader, revealed_case


def test_the_format_of_an_event_that_tells_of_a_row_never_changes() -> None:
    plain = Link(GENESIS, 7, OPENED, None, "case opened", 'C-0001 é\n"')
    assert plain.hash == "eee8107aae72b5956407844f3da0ff76ffbc85faa9bbdcad603c730a3d7d4d3d"
    told = Link(GENESIS, 7, OPENED, None, "case opened", 'C-0001 é\n"', Seal("reads 7", "a" * 64))
    assert told.hash == "4d4bbb8baf0e731137cd889e325663cac6e1f04ab2cdf5e7f1bd11fa4e35d2af"


def test_whole_rows_are_no_finding_and_every_sealed_row_is_looked_at(sealed_url: str, tmp_path: Path) -> None:
    sessions = open_as_it_is(sealed_url, data=tmp_path)
    found = verify(sessions)
    with sessions.read() as session:
        names = [one.table for one in SEALED]
        counted = sum(session.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in names)  # noqa: S608
    sessions.dispose()
    assert found.findings == ()
    # Predictions and jobs of four images, what was stored of models, and three people with two cases.
    assert found.rows == counted == READS + 4 + 4 + 3 + READERS + CASES


def test_a_sealed_table_that_is_gone_is_found_row_by_row(sealed_url: str, tmp_path: Path) -> None:
    engine = engine_of(sealed_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE shifts")
    engine.dispose()
    assert rows_named(findings_of(sealed_url, tmp_path)) == {("missing", "table shifts"), ("missing", "shifts 1")}


def test_linked_rows_are_sealed_in_an_order_that_no_database_decides(sessions: Sessions) -> None:
    with sessions.begin() as session:
        row = tables.Evaluation(
            id=1, at=OPENED, model_name="m", model_version="v", dataset="d", split="test", folder="f", images=12,
            document="{}",
        )  # fmt: skip
        session.add(row)
        session.flush()
        # The larger the position, the earlier the row comes in the order of its JSON.
        session.add_all(_evaluated(position) for position in range(12))
        assert seal(session, row).sha256 == "02aade19f5be306ffc76a30e9ba2600c0a12db9bcb80e3049f5c2d2f08bca71f"


def _evaluated(position: int) -> tables.EvaluatedImage:
    return tables.EvaluatedImage(
        evaluation_id=1, position=position, name="n", patient_id="p", magnification="40X", label="l", predicted="l",
        malignant=True, called_malignant=True, malignant_probability=0.5, confidence=0.9 - position / 20,
        probabilities=[0.5, 0.5],
    )  # fmt: skip


def test_the_images_of_an_intake_are_sealed_with_its_end(sessions: Sessions, database_url: str) -> None:
    with sessions.begin() as session:
        reader = make_reader(session)
        case_id = make_case(session, reader, images=0)
        intake = store.intakes.begin_intake(session, reader, case_id, 1)
        added = store.cases.add_image(session, case_id, stored_image("one"))
        store.intakes.add_to_intake(session, intake, 1, added.image_id)
    assert verify(sessions).findings == ()
    with sessions.begin() as session:
        store.intakes.end_intake(session, reader, intake)
    assert verify(sessions).findings == ()
    with without_triggers(database_url) as connection:
        connection.exec_driver_sql("UPDATE intake_images SET position = 7")
    assert rows_named(verify(sessions).findings) == {("changed", f"intake_ends {intake}")}


def test_a_forged_seal_breaks_the_chain(sealed_url: str, tmp_path: Path) -> None:
    with without_triggers(sealed_url) as connection:
        connection.exec_driver_sql("UPDATE reads SET note = 'other' WHERE id = 4")
        (number,) = connection.exec_driver_sql("SELECT id FROM audit_events WHERE content_of = 'reads 4'").one()
        connection.exec_driver_sql(f"UPDATE audit_events SET content_of = NULL WHERE id = {number}")  # noqa: S608
    findings = findings_of(sealed_url, tmp_path)
    assert ("changed", number) in {(found.kind, found.first) for found in findings}
    assert ("inserted", "reads 4") in rows_named(findings)


def test_a_column_that_a_later_version_adds_leaves_the_seals_as_they_are(sealed_url: str, tmp_path: Path) -> None:
    with without_triggers(sealed_url) as connection:
        connection.exec_driver_sql("ALTER TABLE reads ADD COLUMN added_later TEXT")
    assert findings_of(sealed_url, tmp_path) == ()
    with without_triggers(sealed_url) as connection:
        connection.exec_driver_sql("UPDATE reads SET added_later = 'x' WHERE id = 2")
    assert rows_named(findings_of(sealed_url, tmp_path)) == {("changed", "reads 2")}


def test_a_missing_trigger_of_a_sealed_table_is_told(sealed_url: str, tmp_path: Path) -> None:
    engine = engine_of(sealed_url)
    on = " ON reads" if "postgresql" in sealed_url else ""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER reads_no_delete{on}")
    engine.dispose()
    words = "unprotected: the trigger that refuses to delete reads is missing"
    assert [str(found) for found in findings_of(sealed_url, tmp_path)] == [words]


def test_nothing_is_found_while_readers_go_on_saving(database_url: str, tmp_path: Path) -> None:
    sessions = open_database(database_url, data=tmp_path)
    with sessions.begin() as session:
        first = make_reader(session)
        cases = [make_case(session, first) for _ in range(15)]
        readers = [make_reader(session, f"dr. {number}") for number in range(3)]

    def work(number: int) -> list[Sequence[AuditFinding]]:
        if number:
            for case_id in cases:
                with sessions.begin() as session:
                    store.reads.record_first_read(session, case_id, readers[number - 1], BENIGN, OPENED)
            return []
        return [verify(sessions).findings for _ in range(8)]

    looked, *others = at_once(4, work)
    assert others == [[]] * 3
    assert looked == [()] * 8
    assert verify(sessions).rows == 45 + 15 + 4  # reads, cases, people; the images still wait
    sessions.dispose()


def test_every_table_whose_rows_are_never_changed_is_sealed(sessions: Sessions) -> None:
    with sessions.read() as session:
        existing = reflect_sealed_tables(session.connection())
    assert {*unchangeable_tables(existing), "audit_events"} == set(NEVER_CHANGED)
    named = {one.table for one in SEALED} | {linked.table for one in SEALED for linked in one.linked}
    assert named <= set(tables.Base.metadata.tables)


# What is done to a table, and the row that is named for it.
READING_ROWS = (
    ("UPDATE assignments SET active = NOT active", "changed", "assignments 1"),
    ("DELETE FROM priorities", "missing", "priorities 1"),
    ("UPDATE consensus SET severity = 'none'", "changed", "consensus 1"),
    ("DELETE FROM consensus_reads", "changed", "consensus 1"),
    ("UPDATE sign_offs SET note = 'other'", "changed", "sign_offs 1"),
    ("UPDATE study_places SET position = 9", "changed", "studies 1"),
    ("UPDATE studies SET name = 'other'", "changed", "studies 1"),
    ("UPDATE regions SET points = '[[1, 1]]'", "changed", "reads 1"),
    ("UPDATE model_confirmations SET model_version = 'x'", "changed", "model_confirmations 1"),
    ("UPDATE site_thresholds SET value = 0.1", "changed", "site_thresholds 1"),
    ("UPDATE prediction_permits SET why = 'x'", "changed", "prediction_permits 1"),
    ("UPDATE intakes SET images = 9", "changed", "intakes 1"),
    ("DELETE FROM intake_ends", "missing", "intake_ends 1"),
    ("UPDATE image_orders SET images = '[2, 1]'", "changed", "image_orders 1"),
    ("UPDATE image_scales SET um_per_px = 0.25", "changed", "image_scales 1"),
    ("DELETE FROM microscope_profiles", "missing", "microscope_profiles 1"),
)


def test_rows_of_studies_and_adjudication_are_sealed_with_what_belongs_to_them(
    sessions: Sessions, database_url: str, tmp_path: Path
) -> None:
    reader = revealed_case(sessions)
    case_id, by, at = reader.case_id, reader.account_id, OPENED
    study = tables.Study(name="s", seed=1, washout_days=0, counterbalanced=False, created_by_id=by, created_at=at)
    consensus = tables.Consensus(
        case_id=case_id, account_id=by, blind_read_id=1, severity=Severity.MAJOR, note="", opened_at=at, saved_at=at
    )
    whole: list[tuple[tables.Base, tables.Base | None]] = [
        (tables.Assignment(case_id=case_id, account_id=by, active=True, by_id=by, at=at), None),
        (tables.Priority(case_id=case_id, urgent=True, by_id=by, at=at), None),
        (tables.SignOff(case_id=case_id, version=1, account_id=by, note="", why="", saved_at=at), None),
        (consensus, tables.ConsensusRead(consensus_id=1, read_id=1)),
        (tables.Intake(case_id=case_id, account_id=by, images=2, begun_at=at), None),
        (tables.IntakeEnd(intake_id=1, account_id=by, at=at), None),
        (tables.ImageOrder(case_id=case_id, account_id=by, images=[1, 2], at=at), None),
        (tables.ImageScale(image_id=1, um_per_px=0.5, source="typed", account_id=by, created_at=at), None),
        (tables.MicroscopeProfile(name="BX", objective="10x", um_per_px=0.5, account_id=by, created_at=at), None),
        (tables.ModelConfirmation(account_id=by, model_version="v", at=at), None),
        (tables.PredictionPermit(case_id=case_id, account_id=by, why="a demonstration", at=at), None),
        (
            tables.SiteThreshold(at=at, account_id=by, model_version="v", aim=ThresholdAim.SENSITIVITY, value=0.2),
            None,
        ),
        (
            study,
            tables.StudyPlace(
                study_id=1, account_id=by, case_id=case_id, round=1, arm=Arm.UNAIDED, iteration=1, position=1
            ),
        ),
    ]
    with sessions.begin() as session:
        for row, linked in whole:
            session.add(row)
            session.flush()
            session.add_all([linked] if linked else [])
            record_event(session, by, "made", "x", content=seal(session, row))
    with sessions.begin() as session:
        study.closed_at = at
        closed = session.merge(study)
        record_event(session, by, "closed", "x", content=seal(session, closed))
    assert verify(sessions).findings == ()
    named: set[tuple[str, str]] = set()
    for words, kind, row_named in READING_ROWS:
        with without_triggers(database_url) as connection:
            if "regions" in words:
                image = connection.exec_driver_sql("SELECT id FROM images").scalar_one()
                connection.exec_driver_sql(f"INSERT INTO regions VALUES (1, 1, {image}, 'point', '[[2, 2]]', '')")  # noqa: S608
            connection.exec_driver_sql(words)
        named.add((kind, row_named))
        assert rows_named(verify(sessions).findings) == named, words
