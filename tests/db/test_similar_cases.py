"""Similar cases: the nearest signed-off images, as far as their labels may be known, and never before the reveal."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from core.results import Analysis
from core.statistics.nearest import look_nearest_first
from db import store, tables
from db.database import Sessions
from db.errors import InStudyError, NotRevealedError
from db.values.audit import Action
from db.values.similar_cases import SimilarCase, SimilarCases
from service import similar_cases
from service.similar_cases import SimilarCaseFinder
from tests.helpers.rows import MODEL, SAYS_BENIGN, SAYS_MALIGNANT, analysis, sign_off_row, stored_image, study_rows
from tests.helpers.world import World, analyse_each, make_case, make_reader


def _lying_at(degrees: float) -> Analysis:
    """Return an opinion of an image that lies in this direction."""
    angle = np.radians(degrees)
    return replace(analysis(), embedding=np.array([np.cos(angle), np.sin(angle)], np.float16))


def _chord(degrees: float) -> float:
    return float(2 * np.sin(np.radians(degrees) / 2))


@pytest.fixture
def world(sessions: Sessions) -> World:
    """Six cases of one image: the first reader has finished and signed all but the first, and read that one once."""
    with sessions.begin() as session:
        readers = (make_reader(session), make_reader(session, "dr. b"))
        cases = tuple(make_case(session, readers[0]) for _ in range(6))
    analyse_each(sessions, *(_lying_at(degrees) for degrees in (0, 40, 10, 80, 20, 60)))
    made = World(sessions, readers, cases=cases)
    made.read_first(readers[0], cases[0])
    for case_id in cases[1:]:
        made.read(readers[0], case_id, SAYS_BENIGN)
        made.add(sign_off_row(case_id, readers[0]))
    return made


def _find(world: World, reader: int | None = None) -> SimilarCases:
    return SimilarCaseFinder(world.sessions).find(world.case_id, reader or world.reader)


def _places(world: World, found: Sequence[SimilarCase]) -> list[int]:
    """Return which of the cases were found."""
    with world.sessions.read() as session:
        return [world.cases.index(session.get_one(tables.Image, one.image_id).case_id) for one in found]


def test_the_nearest_signed_off_cases_come_first_with_label_and_distance(world: World) -> None:
    world.add(tables.SignOff(
        case_id=world.cases[2], version=2, account_id=world.reader, label="malignant", subtype="ductal_carcinoma",
        note="", why="looked again", saved_at=sign_off_row(1, 1).saved_at,
    ))  # fmt: skip
    found = _find(world)
    assert _places(world, found.cases) == [2, 4, 1, 5, 3]
    assert [one.distance for one in found.cases] == pytest.approx(
        [_chord(degrees) for degrees in (10, 20, 40, 60, 80)], abs=2e-3
    )
    assert [(one.label, one.subtype) for one in found.cases[:2]] == [
        ("malignant", "ductal_carcinoma"),
        ("benign", None),
    ]
    assert found.cases[0].magnification == "100X"
    assert found.typical == pytest.approx((_chord(20) + _chord(40)) / 2, abs=2e-2)


def test_the_search_stops_only_when_nothing_nearer_can_follow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar_cases, "look_nearest_first", partial(look_nearest_first, first=1, largest=2))
    monkeypatch.setattr(similar_cases, "MOST_CASES", 2)
    assert _places(world, _find(world).cases) == [2, 4]


def test_before_the_first_read_nothing_is_found(world: World) -> None:
    other = world.readers[1]
    with pytest.raises(NotRevealedError, match="save your first opinion"):
        _find(world, other)
    with world.sessions.begin() as session:
        images = store.similar_cases.comparable_images
        with pytest.raises(NotRevealedError):
            images(session, world.case_id, other, [1, 2, 3])
        with pytest.raises(NotRevealedError):
            store.similar_cases.record_shown(session, world.case_id, other)


def test_a_reader_sees_only_cases_that_they_have_finished(world: World) -> None:
    other = world.readers[1]
    world.read_first(other, world.case_id)
    assert _find(world, other).cases == ()
    # Read before they were signed off: one to the end, one only begun.
    world.add(*_reads_of(world, other, world.cases[1], final=True), *_reads_of(world, other, world.cases[2]))
    world.end_undo(other)
    assert _places(world, _find(world, other).cases) == [1]


def _reads_of(world: World, account_id: int, case_id: int, *, final: bool = False) -> Iterator[tables.Read]:
    with world.sessions.read() as session:
        rows = session.query(tables.Read).filter_by(account_id=world.reader, case_id=case_id).order_by(tables.Read.id)
        for row in rows.all() if final else rows.limit(1).all():
            columns = {column.key: getattr(row, column.key) for column in tables.Read.__table__.columns}
            yield tables.Read(**columns | {"id": None, "account_id": account_id})


def test_a_case_without_a_signed_label_is_not_shown(world: World) -> None:
    unsigned = _new_case(world, 5)
    world.read(world.reader, unsigned, SAYS_MALIGNANT)
    row = sign_off_row(world.cases[2], world.reader, version=2)
    row.label = None
    world.add(row)
    assert _places(world, _find(world).cases) == [4, 1, 5, 3]


def _new_case(world: World, degrees: float, *, pixels: str = "", demonstration: bool = False) -> int:
    with world.sessions.begin() as session:
        case_id = store.cases.add_case(
            session, world.reader, accession=None, magnification=None, demonstration=demonstration
        )
        image = stored_image(f"new {case_id}")
        store.cases.add_image(session, case_id, replace(image, file_sha256=pixels) if pixels else image)
    analyse_each(world.sessions, _lying_at(degrees))
    return case_id


def _pixels(world: World, case_id: int) -> str:
    with world.sessions.read() as session:
        return session.query(tables.Image).filter_by(case_id=case_id).one().file_sha256


def test_a_picture_that_is_also_in_an_unread_case_is_not_shown_until_that_is_finished(world: World) -> None:
    twin = _new_case(world, 10, pixels=_pixels(world, world.cases[2]))
    assert _places(world, _find(world).cases) == [4, 1, 5, 3]
    world.read_first(world.reader, twin)
    assert _places(world, _find(world).cases) == [4, 1, 5, 3]
    with world.sessions.begin() as session:
        store.reads.record_final_read(session, twin, world.reader, replace(SAYS_MALIGNANT), sign_off_row(1, 1).saved_at)
    world.end_undo(world.reader)
    assert _places(world, _find(world).cases) == [2, 4, 1, 5, 3]


def test_the_case_itself_is_never_shown_not_even_as_a_picture_of_another(world: World) -> None:
    twin = _new_case(world, 0, pixels=_pixels(world, world.case_id))
    world.read(world.reader, twin, SAYS_BENIGN)
    world.add(sign_off_row(twin, world.reader))
    with world.sessions.begin() as session:
        store.reads.record_final_read(session, world.case_id, world.reader, SAYS_MALIGNANT, sign_off_row(1, 1).saved_at)
    world.add(sign_off_row(world.case_id, world.reader))
    world.end_undo(world.reader)
    assert _places(world, _find(world).cases) == [2, 4, 1, 5, 3]


def test_in_a_study_nothing_is_shown_and_a_case_of_one_is_shown_to_nobody_who_reads_it_there(world: World) -> None:
    world.add(*study_rows(world.cases[2], world.reader, world.readers[1]))
    assert _places(world, _find(world).cases) == [4, 1, 5, 3]
    with world.sessions.begin() as session:
        session.add(tables.StudyPlace(
            study_id=1, account_id=world.reader, case_id=world.case_id, round=1, arm="blind first", iteration=1,
            position=2,
        ))  # fmt: skip
    with pytest.raises(InStudyError):
        _find(world)


def test_generated_tissue_is_compared_with_generated_tissue_only(world: World) -> None:
    generated = _new_case(world, 1, demonstration=True)
    world.read(world.reader, generated, SAYS_BENIGN)
    world.add(sign_off_row(generated, world.reader))
    assert _places(world, _find(world).cases) == [2, 4, 1, 5, 3]


def test_a_result_from_before_embeddings_says_so_only_if_others_of_its_model_have_one(world: World) -> None:
    with world.sessions.begin() as session:
        case_id = make_case(session, world.reader)
    analyse_each(world.sessions, replace(analysis(), embedding=None))
    world.read_first(world.reader, case_id)
    find = SimilarCaseFinder(world.sessions).find
    assert find(case_id, world.reader) == SimilarCases(lacks_embeddings=True)
    with world.sessions.begin() as session:
        lone = make_case(session, world.reader)
        job = store.jobs.claim_job(session, "w")
        assert job is not None
        model = replace(MODEL, version="0" * 12)
        result = replace(analysis(), embedding=None)
        store.jobs.finish_job(session, job, "w", result, model=model, heatmap=None)
    world.read_first(world.reader, lone)
    assert find(lone, world.reader) == SimilarCases()


def test_a_version_calibrated_for_the_site_is_compared_with_its_origin(world: World) -> None:
    with world.sessions.begin() as session:
        case_id = make_case(session, world.reader)
        job = store.jobs.claim_job(session, "w")
        assert job is not None
        calibrated = replace(MODEL, version="0" * 12, origin=MODEL.version)
        store.jobs.finish_job(session, job, "w", _lying_at(79), model=calibrated, heatmap=None)
    world.read_first(world.reader, case_id)
    found = SimilarCaseFinder(world.sessions).find(case_id, world.reader)
    assert _places(world, found.cases)[:2] == [3, 5]


def test_what_is_stored_later_is_found_even_if_it_was_numbered_earlier(world: World) -> None:
    finder = SimilarCaseFinder(world.sessions)
    _add_signed(world, 1000, 70)
    assert finder.find(world.case_id, world.reader).cases[0].distance == pytest.approx(_chord(10), abs=2e-3)
    # On PostgreSQL, a transaction may commit after one whose rows have later numbers.
    _add_signed(world, 500, 5)
    _add_signed(world, 1001, 50)
    found = finder.find(world.case_id, world.reader).cases
    assert found[0].distance == pytest.approx(_chord(5), abs=2e-3)


def _add_signed(world: World, number: int, degrees: float) -> None:
    """Add a signed-off case whose embedding has this number."""
    with world.sessions.begin() as session:
        case_id = make_case(session, world.reader)
    lying = _lying_at(degrees)
    analyse_each(world.sessions, replace(lying, embedding=None))
    world.read(world.reader, case_id, SAYS_BENIGN)
    with world.sessions.read() as session:
        newest = session.query(tables.Prediction).order_by(tables.Prediction.id.desc()).first()
    assert newest is not None
    assert lying.embedding is not None
    row = tables.ImageEmbedding(
        id=number, prediction_id=newest.id, network=MODEL.version, embedding=lying.embedding.tobytes()
    )
    world.add(row, sign_off_row(case_id, world.reader))


def test_the_trail_says_once_that_similar_cases_were_shown(world: World) -> None:
    for _ in range(2):
        with world.sessions.begin() as session:
            store.similar_cases.record_shown(session, world.case_id, world.reader)
    assert world.audited_actions().count(Action.SIMILAR_SHOWN) == 1
