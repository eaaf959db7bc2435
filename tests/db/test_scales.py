"""The scale of an image: recorded with its source, corrected until somebody has read it, and analysed again."""

import pytest
from sqlalchemy import text

from core.imaging.scale import Scale
from db import store
from db.audit.verify import verify
from db.database import Sessions
from db.errors import CaseChangedError, NotAllowedError
from db.values.accounts import Role
from db.values.jobs import JobState
from db.values.reading import CaseState, StoredImage
from db.values.scales import ChosenScale, ImageScale, Objective, write_length
from tests.helpers.rows import BENIGN, NEWER_MODEL, OPENED, QUALITY, out_of_scope, sha256_of, study_rows, usual
from tests.helpers.tampering import rows_named, without_triggers
from tests.helpers.world import (
    Reader,
    add_person,
    analyse_all,
    claim_job,
    make_case,
    make_reader,
    ready_case,
    revealed_case,
)

TYPED = ChosenScale(Scale(0.25, "typed"))
OTHER = ChosenScale(Scale(0.5, "ruler"))


def set_scale(sessions: Sessions, reader: Reader, chosen: ChosenScale = TYPED, image_id: int = 1) -> bool:
    with sessions.begin() as session:
        return store.scales.set_scale(session, reader.account_id, image_id, chosen)


def scales_of(sessions: Sessions, case_id: int) -> list[ImageScale | None]:
    with sessions.read() as session:
        return [image.scale for image in store.open_case.case_images(session, case_id)]


def said_of_scales(sessions: Sessions) -> list[str]:
    with sessions.read() as session:
        events = store.audit.audit_trail(session, limit=None)
    return [event.subject for event in reversed(events) if event.action in ("scale set", "objective set")]


def add_objective(sessions: Sessions, by: int, objective: str, um_per_px: float | None) -> None:
    with sessions.begin() as session:
        store.scales.set_objective(session, by, "Olympus BX51", objective, um_per_px)


def list_objectives(sessions: Sessions, account_id: int) -> list[Objective]:
    with sessions.read() as session:
        return list(store.scales.objectives(session, account_id))


def test_the_scale_that_a_file_states_is_stored_with_its_source(sessions: Sessions) -> None:
    with sessions.begin() as session:
        reader = make_reader(session)
        case_id = make_case(session, reader, images=0)
        for number, scale in enumerate((ChosenScale(Scale(0.2517, "tiff")), None)):
            source, pixels = sha256_of(f"source {number}"), sha256_of(f"pixels {number}")
            store.cases.add_image(session, case_id, StoredImage(source, pixels, 460, 700, QUALITY, scale))
    stated, unknown = scales_of(sessions, case_id)
    assert str(stated) == "0.252 µm per pixel, from the TIFF's tags"
    assert unknown is None
    assert said_of_scales(sessions) == ["C-0001 image 1: 0.252 µm per pixel, from the TIFF's tags"]
    assert verify(sessions).findings == ()


def test_a_scale_is_corrected_and_the_newest_counts(sessions: Sessions) -> None:
    reader = ready_case(sessions, images=2)
    assert set_scale(sessions, reader, OTHER)
    assert set_scale(sessions, reader, TYPED)
    assert not set_scale(sessions, reader, TYPED), "the same again is no correction"
    assert scales_of(sessions, reader.case_id) == [ImageScale(0.25, "typed"), None]
    assert len(said_of_scales(sessions)) == 2
    assert verify(sessions).findings == ()


def test_a_corrected_scale_has_the_image_analysed_again_and_only_that_result_is_shown(sessions: Sessions) -> None:
    reader = ready_case(sessions, malignant=0.8)
    set_scale(sessions, reader)
    with sessions.read() as session:
        assert store.worklist.case_state(session, reader.case_id, reader.account_id) is CaseState.WAITING
        assert store.open_case.case_images(session, reader.case_id)[0].job is JobState.QUEUED
    assert verify(sessions).findings == (), "an analysis that is done again is no missing row"
    with sessions.begin() as session:
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
    with sessions.read() as session:
        case = store.open_case.case_view(session, reader.case_id, reader.account_id)
    assert case.reveal is None, "the result without the scale is none for this image"
    analyse_all(sessions, 0.3)
    with sessions.read() as session:
        case = store.open_case.case_view(session, reader.case_id, reader.account_id)
        scale_ids = list(session.scalars(text("SELECT scale_id FROM predictions ORDER BY id")))
    assert case.state is CaseState.REVEALED
    assert case.reveal is not None
    assert case.reveal.malignant_probability == pytest.approx(0.3)
    assert scale_ids == [None, 1], "both results are kept, and the second says with which scale it was made"
    assert verify(sessions).findings == ()


def test_an_image_that_was_out_of_scope_at_a_wrong_scale_has_an_opinion_at_the_right_one(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account = make_reader(session)
        case_id = make_case(session, account)
    analyse_all(sessions, result=out_of_scope())
    set_scale(sessions, Reader(account, case_id))
    assert verify(sessions).findings == ()
    analyse_all(sessions, result=usual(0.3))
    assert verify(sessions).findings == ()
    with sessions.begin() as session:
        store.reads.record_first_read(session, case_id, account, BENIGN, OPENED)
        case = store.open_case.case_view(session, case_id, account)
    assert [one.scope.level for one in case.scopes] == ["in"]
    assert case.reveal is not None
    # And the other way round: what was said at another scale is no opinion on this one.
    with sessions.begin() as session:
        other = make_case(session, account)
    analyse_all(sessions, result=usual(0.3))
    set_scale(sessions, Reader(account, other), image_id=2)
    analyse_all(sessions, result=out_of_scope())
    with sessions.begin() as session:
        store.reads.record_first_read(session, other, account, BENIGN, OPENED)
        case = store.open_case.case_view(session, other, account)
    assert [one.scope.level for one in case.scopes] == ["out"]
    assert case.reveal is None


def test_the_result_without_a_scale_does_not_count_if_there_is_none_with_it(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    set_scale(sessions, reader)
    job = claim_job(sessions)
    assert job is not None
    with sessions.begin() as session:
        assert store.jobs.fail_job(session, job, "w", "too small at this scale")
    with sessions.read() as session:
        assert store.worklist.case_state(session, reader.case_id, reader.account_id) is CaseState.UNREADABLE
    assert verify(sessions).findings == ()


def test_a_job_carries_the_scale_and_a_worker_that_began_before_its_correction_loses_it(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account = make_reader(session)
        reader = Reader(account, make_case(session, account))
    before = claim_job(sessions)
    assert before is not None
    assert before.um_per_px is None
    set_scale(sessions, reader)
    with sessions.begin() as session:
        assert not store.jobs.fail_job(session, before, "w", "came too late")
    again = claim_job(sessions)
    assert again is not None
    assert (again.um_per_px, again.scale_id) == (0.25, 1)
    assert verify(sessions).findings == ()


def test_two_models_and_two_scales_are_told_apart(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    set_scale(sessions, reader)
    analyse_all(sessions, 0.7, model=NEWER_MODEL)
    set_scale(sessions, reader, OTHER)
    analyse_all(sessions, 0.6, model=NEWER_MODEL)
    with sessions.begin() as session:
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
        reveal = store.open_case.case_view(session, reader.case_id, reader.account_id).reveal
    assert reveal is not None
    assert (reveal.model_version, round(reveal.malignant_probability, 3)) == (NEWER_MODEL.version, 0.6)


def test_a_case_that_somebody_has_read_keeps_its_scale(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    with sessions.begin() as session:
        other = Reader(make_reader(session, "dr. b"), reader.case_id)
        assert not store.scales.can_set_scale(session, other.account_id, reader.case_id)
    for who in (reader, other):
        with pytest.raises(
            CaseChangedError, match="C-0001 has been read: the scale of its images can no longer be changed"
        ):
            set_scale(sessions, who)
    assert scales_of(sessions, reader.case_id) == [None]


def test_a_case_of_a_study_keeps_its_scale(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    with sessions.begin() as session:
        other = make_reader(session, "dr. b")
        study, place = study_rows(reader.case_id, other, reader.account_id)
        session.add(study)
        session.flush()
        session.add(place)
    with pytest.raises(CaseChangedError, match="part of a study"):
        set_scale(sessions, reader)


def test_only_who_may_see_cases_sets_a_scale_and_only_an_administrator_an_objective(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    with sessions.begin() as session:
        ann = add_person(session, "ann", Role.READER)
        admin = add_person(session, "admin", Role.ADMINISTRATOR)
        researcher = add_person(session, "rita", Role.RESEARCHER)
    for account in (admin, researcher):
        with pytest.raises(NotAllowedError, match="see or read cases"):
            set_scale(sessions, Reader(account, reader.case_id))
    for account in (ann, researcher):
        with pytest.raises(NotAllowedError, match="manage accounts or models"):
            add_objective(sessions, account, "10x", 0.5)
    add_objective(sessions, admin, "10x", 0.5)
    assert [one.name for one in list_objectives(sessions, ann)] == ["Olympus BX51, 10x"]


def test_the_newest_row_of_an_objective_counts_and_images_keep_what_they_have_from_it(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    by = reader.account_id
    add_objective(sessions, by, "10x", 0.2)
    add_objective(sessions, by, "4x", 0.49)
    wide, fine = list_objectives(sessions, by)
    assert (wide.objective, fine.objective) == ("4x", "10x")
    set_scale(sessions, reader, ChosenScale(Scale(fine.um_per_px, "microscope"), fine.id))
    add_objective(sessions, by, "10x", 0.21)
    add_objective(sessions, by, "4x", None)
    assert [one.um_per_px for one in list_objectives(sessions, by)] == [0.21]
    assert [str(scale) for scale in scales_of(sessions, reader.case_id)] == [
        "0.2 µm per pixel, from a microscope profile (Olympus BX51, 10x)"
    ]
    for old in (wide, fine):
        with pytest.raises(ValueError, match="changed or withdrawn a moment ago"):
            set_scale(sessions, reader, ChosenScale(Scale(old.um_per_px, "microscope"), old.id))
    assert said_of_scales(sessions)[-2:] == [
        "Olympus BX51, 10x: 0.21 µm per pixel",
        "Olympus BX51, 4x: no longer offered",
    ]
    assert verify(sessions).findings == ()


@pytest.mark.parametrize(
    ("name", "objective", "um_per_px", "why"),
    [
        ("", "10x", 0.5, "needs a name"),
        ("BX", " ", 0.5, "needs a name"),
        ("BX" * 51, "10x", 0.5, "at most 100 characters"),
        ("BX", "10x\n", 0.5, "at most 32 characters, all of them visible"),
        ("BX", "10x", 12.0, "is not a plausible scale for a microscope image"),
        ("BX", "10x", None, "there is no objective 10x of BX"),
    ],
)
def test_an_objective_without_sense_is_refused(
    sessions: Sessions, name: str, objective: str, um_per_px: float | None, why: str
) -> None:
    with sessions.begin() as session:
        by = make_reader(session)
        if why.startswith("at most 32"):
            objective = "10\u200bx"
        with pytest.raises(ValueError, match=why):
            store.scales.set_objective(session, by, name, objective, um_per_px)


def test_a_scale_or_a_job_that_is_tampered_with_is_found(sessions: Sessions, database_url: str) -> None:
    reader = ready_case(sessions)
    set_scale(sessions, reader)
    with without_triggers(database_url) as connection:
        connection.exec_driver_sql("UPDATE image_scales SET um_per_px = 0.5")
        # As if the analysis with the scale had ended without a result.
        connection.exec_driver_sql("UPDATE jobs SET state = 'done'")
    assert rows_named(verify(sessions).findings) == {("changed", "image_scales 1"), ("changed", "jobs 1")}


def test_a_scale_names_an_objective_if_it_comes_from_a_microscope_and_only_then() -> None:
    for scale, objective in ((Scale(0.5, "typed"), 1), (Scale(0.5, "microscope"), None)):
        with pytest.raises(ValueError, match="names an objective"):
            ChosenScale(scale, objective)


@pytest.mark.parametrize(
    ("pixels", "um_per_px", "words"),
    [
        (100, None, "100 px"),
        (100, 0.25, "25 µm"),
        (1234.4, 0.5, "617 µm"),
        (5000, 0.5, "2.5 mm"),
        (1999.2, 0.5, "1 mm"),
    ],
)
def test_a_length_is_written_in_the_unit_that_fits(pixels: float, um_per_px: float | None, words: str) -> None:
    assert write_length(pixels, um_per_px) == words
