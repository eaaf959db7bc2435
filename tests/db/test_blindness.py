"""Nothing of the model leaves the store before this reader's own first read."""

from dataclasses import replace

import pytest

from db import store
from db.database import Sessions
from db.errors import NotRevealedError, UnknownCaseError
from db.values.reading import CaseState, CaseView, Reveal
from tests.helpers.rows import BENIGN, MALIGNANT, MODEL, NEWER_MODEL, OPENED, prediction, sha256_of, stored_image
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import Reader, analyse_all, make_case, make_reader, ready_case, revealed_case


def open_it(sessions: Sessions, reader: Reader) -> CaseView:
    with sessions.begin() as session:
        return store.open_case.open_case(session, reader.case_id, reader.account_id)


def reveal(sessions: Sessions, reader: Reader) -> Reveal:
    found = open_it(sessions, reader).reveal
    assert found is not None
    return found


def test_two_cases_that_differ_only_in_the_models_opinion_look_the_same_before_the_first_read(
    sessions: Sessions,
) -> None:
    benign = ready_case(sessions, images=2, malignant=0.01, name="dr. a")
    malignant = ready_case(sessions, images=2, malignant=0.99, name="dr. b")
    with sessions.read() as session:
        rows = whole_worklist(session, benign.account_id)
    one, two = open_it(sessions, benign), open_it(sessions, replace(malignant, account_id=benign.account_id))
    assert one.reveal is two.reveal is None
    same = {"id": 0, "accession": "", "images": tuple(replace(image, id=0) for image in one.images)}
    assert tuple(replace(image, id=0) for image in two.images) == same["images"]
    assert replace(one, id=0, accession="", images=()) == replace(two, id=0, accession="", images=())
    first, second = (replace(row, id=0, accession="", created_at=OPENED, first_image=0) for row in rows)
    assert first == second


def test_the_model_is_shown_to_the_reader_who_has_read_and_to_nobody_else(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    with sessions.begin() as session:
        other = Reader(make_reader(session, "dr. b"), reader.case_id)
    assert reveal(sessions, reader).malignancy == "malignant"
    view = open_it(sessions, other)
    assert (view.reveal, view.first_read, view.state) == (None, None, CaseState.IN_READING)


def test_a_heat_map_is_refused_before_the_first_read_and_given_after(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    image_id = open_it(sessions, reader).images[0].id
    with sessions.read() as session, pytest.raises(NotRevealedError, match="save your first opinion to see"):
        store.open_case.heatmap_file(session, image_id, reader.account_id)
    with sessions.begin() as session:
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
    with sessions.read() as session:
        assert store.open_case.heatmap_file(session, image_id, reader.account_id) == sha256_of(f"map of {image_id}")


def test_an_image_that_is_not_analysed_has_no_heat_map(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    with sessions.begin() as session:
        added = store.cases.add_image(session, reader.case_id, stored_image("late"))
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
    with sessions.read() as session, pytest.raises(UnknownCaseError, match="has no heat map"):
        store.open_case.heatmap_file(session, added.image_id, reader.account_id)


def test_other_readers_reads_are_not_shown(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    with sessions.begin() as session:
        store.reads.record_final_read(session, reader.case_id, reader.account_id, MALIGNANT, OPENED)
        other = Reader(make_reader(session, "dr. b"), reader.case_id)
    view = open_it(sessions, other)
    assert (view.first_read, view.final_read, view.state) == (None, None, CaseState.IN_READING)


def test_a_reader_finds_all_their_own_reads_again_and_nobody_elses(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    with sessions.begin() as session:
        final = store.reads.record_final_read(session, reader.case_id, reader.account_id, MALIGNANT, OPENED)
        other = make_reader(session, "dr. b")
        theirs = store.reads.record_first_read(session, reader.case_id, other, MALIGNANT, OPENED)
    with sessions.read() as session:
        mine = store.reads.own_reads(session, reader.account_id)
        assert [read.stage.value for read in mine] == ["first", "final"]
        assert mine[1] == final
        assert store.reads.own_reads(session, other, case_id=reader.case_id) == [theirs]
        assert store.reads.own_reads(session, other, case_id=reader.case_id + 1) == []


def test_a_prediction_comes_back_exactly_as_it_was_saved(sessions: Sessions) -> None:
    reader = revealed_case(sessions, malignant=0.7)
    shown = reveal(sessions, reader)
    assert [image.prediction for image in shown.images] == [prediction(0.7)]
    assert (shown.images[0].heatmap_low, shown.images[0].heatmap_high) == (-1.25, 3.5)
    assert (shown.model_version, shown.model_name, shown.demonstration) == (MODEL.version, MODEL.name, True)


def test_the_model_of_a_case_is_the_mean_of_its_images(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        reader = Reader(account_id, make_case(session, account_id))
    analyse_all(sessions, 0.9)
    with sessions.begin() as session:
        store.cases.add_image(session, reader.case_id, stored_image("second"))
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
    assert reveal(sessions, reader).malignant_probability == pytest.approx(0.9)
    analyse_all(sessions, 0.1)
    both = reveal(sessions, reader)
    assert both.malignant_probability == pytest.approx(0.5)
    assert (both.threshold, both.malignancy, len(both.images)) == (0.41, "malignant", 2)


@pytest.mark.parametrize(("malignant", "said"), [(0.42, "malignant"), (0.40, "benign")])
def test_the_threshold_of_the_card_decides(sessions: Sessions, malignant: float, said: str) -> None:
    assert reveal(sessions, revealed_case(sessions, malignant=malignant)).malignancy == said


def test_the_version_that_covers_most_images_speaks_and_then_the_latest(sessions: Sessions) -> None:
    reader = ready_case(sessions, images=2, malignant=0.9)
    with sessions.begin() as session:
        store.cases.add_image(session, reader.case_id, stored_image("third"))
    analyse_all(sessions, 0.1, model=NEWER_MODEL)
    with sessions.begin() as session:
        store.cases.add_image(session, reader.case_id, stored_image("fourth"))
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
    assert reveal(sessions, reader).model_version == MODEL.version
    analyse_all(sessions, 0.1, model=NEWER_MODEL)
    assert reveal(sessions, reader).model_version == NEWER_MODEL.version


def test_a_first_read_may_come_before_the_analysis_and_the_reveal_follows(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        reader = Reader(account_id, make_case(session, account_id))
        store.reads.record_first_read(session, reader.case_id, account_id, BENIGN, OPENED)
    view = open_it(sessions, reader)
    assert (view.reveal, view.state) == (None, CaseState.FIRST_READ)
    analyse_all(sessions)
    assert reveal(sessions, reader).malignancy == "malignant"
