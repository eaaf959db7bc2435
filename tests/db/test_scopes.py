"""The model's opinion of an image unlike its training images is marked or withheld; a read holds what was shown."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import select

from core.reading.agreement import count_without_opinion, reader_model_pairs
from core.results import Analysis, Reading
from db import store, tables
from db.audit.verify import verify
from db.database import Sessions
from db.errors import NotRevealedError, UnknownCaseError
from db.store.exports import DEIDENTIFIED, ExportDetail
from db.values.adjudication import Trigger
from db.values.exports import CaseExport, ReadsExport
from db.values.reading import Arm, CaseState, CaseView, ImageRow, OnScreen, Opinion, Read, Stage
from tests.helpers.rows import (
    BENIGN,
    MALIGNANT,
    MODEL,
    NEWER_MODEL,
    OPENED,
    STRANGE_COLOURS,
    STRANGE_SCALE,
    analysis,
    out_of_scope,
    prediction,
    sha256_of,
    unusual,
    usual,
)
from tests.helpers.tampering import rows_named, without_triggers
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import (
    Reader,
    World,
    analyse_all,
    analyse_each,
    make_case,
    make_reader,
    make_study_world,
    place_of,
)


def case_of(sessions: Sessions, *results: Analysis, name: str = "dr. a") -> Reader:
    """Make a reader, and a case with an image for each of these results."""
    with sessions.begin() as session:
        account_id = make_reader(session, name)
        case_id = make_case(session, account_id, images=len(results))
    analyse_each(sessions, *results)
    return Reader(account_id, case_id)


def opened(sessions: Sessions, reader: Reader) -> CaseView:
    with sessions.begin() as session:
        return store.open_case.open_case(session, reader.case_id, reader.account_id)


def revealed(sessions: Sessions, reader: Reader, opinion: Opinion = BENIGN) -> CaseView:
    with sessions.begin() as session:
        store.reads.record_first_read(session, reader.case_id, reader.account_id, opinion, OPENED)
    return opened(sessions, reader)


def finished(sessions: Sessions, reader: Reader, opinion: Opinion = BENIGN) -> Read:
    """Read a case to the end with what is on the screen, as the page does."""
    view = revealed(sessions, reader)
    with sessions.begin() as session:
        return store.reads.record_final_read(
            session, reader.case_id, reader.account_id, opinion, OPENED, seen=view.on_screen
        )


def levels(view: CaseView) -> list[str]:
    return [one.scope.level for one in view.scopes]


def readings(sessions: Sessions, reader: Reader) -> list[Reading]:
    with sessions.begin() as session:
        store.reads.end_undo(session, reader.account_id)
    with sessions.read() as session:
        return store.agreement.finished_readings(session, reader.account_id)


def exported(sessions: Sessions, reader: Reader, told: ExportDetail = DEIDENTIFIED) -> ReadsExport:
    with sessions.read() as session:
        return store.exports.exported_reads(session, reader.account_id, study_id=None, told=told)


def report(sessions: Sessions, reader: Reader) -> CaseExport:
    with sessions.begin() as session:
        store.reads.end_undo(session, reader.account_id)
    with sessions.read() as session:
        return store.exports.exported_case(session, reader.case_id, reader.account_id)


# Before the first read.


@pytest.mark.parametrize("strange", [unusual(), out_of_scope()])
def test_before_the_first_read_a_strange_image_looks_like_any_other(sessions: Sessions, strange: Analysis) -> None:
    plain, odd = case_of(sessions, analysis(), usual()), case_of(sessions, strange, strange, name="dr. b")
    views = opened(sessions, plain), opened(sessions, replace(odd, account_id=plain.account_id))
    assert views[0].scopes == views[1].scopes == ()
    assert {view.reveal for view in views} == {None}
    assert views[0].state is views[1].state is CaseState.IN_READING

    def nameless(images: Sequence[ImageRow]) -> list[ImageRow]:
        return [replace(image, id=0) for image in images]

    assert nameless(views[0].images) == nameless(views[1].images)
    assert views[1].images[0].job_message is None
    with sessions.read() as session:
        rows = whole_worklist(session, plain.account_id)
        assert {row.state for row in rows} == {CaseState.READY, CaseState.IN_READING}
        plan = store.studies.find_cases(session, plain.account_id, [row.accession for row in rows])
    assert len(plan) == 2


def test_the_audit_trail_does_not_tell_of_which_image_there_is_no_opinion(sessions: Sessions) -> None:
    case_of(sessions, usual(), out_of_scope())
    with sessions.read() as session:
        events = store.audit.audit_trail(session, limit=None)
    told = {subject: [e.action for e in events if e.subject == subject] for subject in ("image 1", "image 2")}
    assert told["image 1"] == told["image 2"]
    assert "image analysed" in told["image 2"]


def test_a_case_out_of_scope_can_be_read_in_a_study(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=0)
    with shared_sessions.begin() as session:
        cases = (make_case(session, world.planner),)
    analyse_each(shared_sessions, out_of_scope())
    world = replace(world, cases=cases)
    study = world.make_study(world.plan_study((Arm.BLIND_FIRST,)))
    before = world.open_place(study)
    assert before.case is not None
    assert (before.case.scopes, before.case.state) == ((), CaseState.READY)
    world.read_at_place(place_of(before))
    after = world.open_place(study).case
    assert after is not None
    assert (after.reveal, levels(after), after.state) == (None, ["out"], CaseState.REVEALED)
    read = study_read(world, place_of(before), [one.scope_id for one in after.scopes])
    assert (read.stage, read.model_visible, read.shown_scope) == (Stage.FINAL, False, "out")
    assert "revealed" in [action for action, _ in world.actions_of_reader()]


def study_read(world: World, place: int, scopes: Sequence[int]) -> Read:
    with world.sessions.begin() as session:
        return store.study_reading.record_study_read(
            session, place, world.reader, BENIGN, OPENED, seen=OnScreen(scopes=scopes)
        )


@pytest.mark.parametrize("result", [unusual(), out_of_scope()], ids=["unusual", "out of scope"])
def test_the_map_of_the_scope_is_refused_before_the_first_read_and_given_after(
    sessions: Sessions, result: Analysis
) -> None:
    reader = case_of(sessions, result)
    image_id = opened(sessions, reader).images[0].id
    with sessions.read() as session, pytest.raises(NotRevealedError, match="save your first opinion to see"):
        store.open_case.scope_map_file(session, image_id, reader.account_id)
    (scope,) = revealed(sessions, reader).scopes
    assert scope.has_map
    with sessions.read() as session:
        stored = store.open_case.scope_map_file(session, image_id, reader.account_id)
    assert stored == sha256_of(f"scope map of {image_id}")


# After the first read.


def test_an_image_like_the_training_images_has_no_map_of_the_scope(sessions: Sessions) -> None:
    reader = case_of(sessions, usual())
    view = revealed(sessions, reader)
    assert [one.has_map for one in view.scopes] == [False]
    with sessions.read() as session, pytest.raises(UnknownCaseError, match="no map of where it is unlike"):
        store.open_case.scope_map_file(session, view.images[0].id, reader.account_id)


def test_out_of_scope_there_is_no_label_and_the_read_holds_that_this_was_shown(
    sessions: Sessions, database_url: str
) -> None:
    reader = case_of(sessions, out_of_scope())
    view = revealed(sessions, reader)
    assert (view.reveal, view.shown_scope, view.state) == (None, "out", CaseState.REVEALED)
    (scope,) = view.scopes
    assert (scope.model, scope.scope.reasons, scope.withheld) == (MODEL, (STRANGE_COLOURS,), True)
    with sessions.read() as session, pytest.raises(UnknownCaseError, match="unlike the training images"):
        store.open_case.heatmap_file(session, view.images[0].id, reader.account_id)
    # Nothing to differ from: no reason is asked for.
    with sessions.begin() as session:
        read = store.reads.record_final_read(
            session, reader.case_id, reader.account_id, MALIGNANT, OPENED, seen=view.on_screen
        )
    assert (read.model_visible, read.shown_scope) == (False, "out")
    assert verify(sessions).findings == ()
    with without_triggers(database_url) as connection:
        connection.exec_driver_sql("DELETE FROM read_scopes")
        connection.exec_driver_sql("UPDATE image_scopes SET level = 'in'")
    assert rows_named(verify(sessions).findings) == {("changed", f"reads {read.id}"), ("changed", "jobs 1")}


def test_an_unusual_image_keeps_its_label_and_the_read_holds_the_mark(sessions: Sessions) -> None:
    reader = case_of(sessions, unusual(0.2))
    view = revealed(sessions, reader)
    assert view.reveal is not None
    assert (view.reveal.malignancy, view.shown_scope) == ("benign", "unusual")
    assert view.scopes[0].scope.reasons == (STRANGE_SCALE,)
    with sessions.begin() as session:
        read = store.reads.record_final_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
    assert (read.model_visible, read.shown_scope) == (True, "unusual")
    with sessions.read() as session:
        assert session.scalars(select(tables.ReadScope.scope_id)).all() == [view.scopes[0].scope_id]


def test_of_several_images_the_opinion_is_that_of_the_images_in_scope(sessions: Sessions) -> None:
    reader = case_of(sessions, usual(0.2), out_of_scope(), usual(0.3))
    view = revealed(sessions, reader)
    assert view.reveal is not None
    assert view.reveal.malignant_probability == pytest.approx(0.25)
    assert (len(view.reveal.images), levels(view), view.shown_scope) == (2, ["in", "out", "in"], "unusual")
    assert [one.image_id for one in view.scopes] == [image.id for image in view.images]


def test_if_all_images_are_out_of_scope_there_is_no_opinion(sessions: Sessions) -> None:
    view = revealed(sessions, case_of(sessions, out_of_scope(), out_of_scope()))
    assert (view.reveal, view.shown_scope) == (None, "out")


def test_who_did_not_wait_for_the_model_was_not_shown_that_it_gives_no_opinion(sessions: Sessions) -> None:
    reader = case_of(sessions, out_of_scope())
    revealed(sessions, reader)
    with sessions.begin() as session:
        read = store.reads.record_final_read(
            session, reader.case_id, reader.account_id, BENIGN, OPENED, seen=OnScreen()
        )
    assert read.shown_scope is None


def test_a_result_of_a_model_without_scope_says_nothing_of_it(sessions: Sessions) -> None:
    view = revealed(sessions, case_of(sessions, analysis()))
    assert (view.scopes, view.shown_scope) == ((), None)
    assert view.reveal is not None


def test_the_scope_that_is_shown_is_that_of_the_model_whose_opinion_is_shown(sessions: Sessions) -> None:
    reader = case_of(sessions, usual(), usual())
    with sessions.begin() as session:
        job = session.scalars(select(tables.Job)).first()
        assert job is not None
        session.add(
            tables.ImageScope(
                job_id=job.id,
                image_id=job.image_id,
                model_version=NEWER_MODEL.version,
                model_name=NEWER_MODEL.name,
                demonstration=False,
                level="out",
                score=9,
                limit_unusual=1,
                limit_out=2,
                reasons=[],
                created_at=OPENED,
            )
        )
    assert levels(revealed(sessions, reader)) == ["in", "in"]


# What is counted and handed out.


def test_without_an_opinion_nobody_contradicts_the_model_and_agreement_counts_the_case_apart(
    sessions: Sessions,
) -> None:
    reader = case_of(sessions, out_of_scope())
    with sessions.begin() as session:
        other = make_case(session, reader.account_id)
    analyse_all(sessions, 0.8)
    finished(sessions, reader, Opinion("malignant", 4))
    finished(sessions, Reader(reader.account_id, other), Opinion("malignant", 4))
    found = readings(sessions, reader)
    assert [(one.standing.withheld, one.standing.model) for one in found if one.standing] == [
        (True, None),
        (False, "malignant"),
    ]
    assert {one.model_version for one in found} == {MODEL.version}
    assert [pair.case_id for pair in reader_model_pairs(found, "after")] == [other]
    assert count_without_opinion(found) == 1
    with sessions.read() as session:
        triggers = whole_worklist(session, reader.account_id)
    assert {row.state for row in triggers} == {CaseState.FINAL}, Trigger.MODEL_CONFLICT


def test_an_export_of_reads_says_what_was_shown_of_the_scope(sessions: Sessions) -> None:
    reader = case_of(sessions, out_of_scope())
    finished(sessions, reader)
    _, final = sorted(exported(sessions, reader).reads, key=lambda one: one.read.id)
    assert (final.shown, final.withheld_by, final.read.shown_scope) == (None, MODEL, "out")
    assert final.revealed_at is not None
    whole = report(sessions, reader)
    assert (whole.reveal, [one.withheld for one in whole.scopes]) == (None, [True])


def test_the_threshold_of_a_case_is_the_more_sensitive_one_if_the_site_changed_it_between_two_images(
    sessions: Sessions,
) -> None:
    changed = replace(analysis(0.35), prediction=replace(prediction(0.35), threshold=0.3))
    view = revealed(sessions, case_of(sessions, analysis(0.35), changed))
    assert view.reveal is not None
    assert (view.reveal.threshold, view.reveal.malignancy) == (0.3, "malignant")
