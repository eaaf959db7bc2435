"""An evaluation tells nobody the label or the model's opinion of a picture that they have yet to read blind."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import select

from db import store, tables
from db.database import Sessions
from db.values.accounts import Role
from db.values.evaluations import EvaluatedImage, HiddenImages, Overlap
from tests.helpers.rows import (
    CANNOT_ASSESS,
    OPENED,
    RULING,
    SAYS_BENIGN,
    SAYS_MALIGNANT,
    evaluated_image,
    new_evaluation,
    sha256_of,
    study_rows,
)
from tests.helpers.world import World, add_person, make_world

# The image at position 1 is another file with the pixels of the first case; at 2 it is the file of the second case.
ALL = [1, 2, 3]


@pytest.fixture
def world(sessions: Sessions) -> World:
    """Two cases, and an evaluation of their pictures and of one more."""
    world = make_world(sessions, cases=2)
    one, other = _images(world)
    _evaluate(
        world,
        _named(1, file_sha256=one.file_sha256),
        _named(2, source_sha256=other.source_sha256),
        _named(3),
    )
    return world


def _images(world: World) -> list[tables.Image]:
    with world.sessions.read() as session:
        return list(session.scalars(select(tables.Image).order_by(tables.Image.id)))


def _named(position: int, *, source_sha256: str = "", file_sha256: str = "") -> EvaluatedImage:
    return replace(
        evaluated_image(position, malignant=True, probability=0.9),
        source_sha256=source_sha256 or sha256_of(f"evaluated file {position}"),
        file_sha256=file_sha256 or sha256_of(f"evaluated pixels {position}"),
    )


def _evaluate(world: World, *images: EvaluatedImage) -> int:
    with world.sessions.begin() as session:
        return store.evaluations.add_evaluation(session, new_evaluation(), images)


def _shown(world: World, account_id: int | None, evaluation_id: int = 1) -> list[int]:
    """Return the positions of the images that an account gets; they are counted, and hidden, accordingly."""
    with world.sessions.read() as session:
        images = store.evaluations.evaluated_images(session, account_id, evaluation_id)
        assert store.evaluations.count_evaluated_images(session, account_id, evaluation_id) == len(images)
        hidden = store.evaluations.hidden_images(session, account_id, evaluation_id)
    shown = sorted(image.position for image in images)
    assert [position for position in ALL if position not in shown] == list(hidden.positions if hidden else ())
    return shown


def test_pictures_of_unread_cases_are_hidden_by_file_and_by_pixels(world: World) -> None:
    assert _shown(world, world.reader) == [3]
    assert _shown(world, world.adjudicator) == [3]
    assert _shown(world, None) == ALL


def test_a_picture_is_hidden_until_the_last_word_and_again_when_that_is_withdrawn(world: World) -> None:
    reader, case = world.reader, world.case_id
    world.read_first(reader, case)
    assert _shown(world, reader) == [3], "the label of the picture would still inform the final read"
    with world.sessions.begin() as session:
        final = store.reads.record_final_read(session, case, reader, SAYS_MALIGNANT, OPENED)
    assert _shown(world, reader) == [1, 3]
    assert _shown(world, world.readers[1]) == [3], "what one reader has read, another has not"
    with world.sessions.begin() as session:
        store.reads.withdraw_read(session, final.id, reader)
    assert _shown(world, reader) == [3]


def test_a_reader_who_has_finished_everything_sees_everything(world: World) -> None:
    for case in world.cases:
        world.read(world.reader, case, SAYS_MALIGNANT)
    assert _shown(world, world.reader) == ALL
    with world.sessions.read() as session:
        assert store.evaluations.hidden_images(session, world.reader, 1) is None


def test_a_case_without_an_answer_is_finished_too(world: World) -> None:
    world.read(world.reader, world.case_id, CANNOT_ASSESS)
    assert _shown(world, world.reader) == [1, 3]


def test_an_adjudicator_who_has_settled_a_case_sees_its_picture(world: World) -> None:
    world.read_differently()
    world.read_first(world.adjudicator, world.case_id)
    assert _shown(world, world.adjudicator) == [3]
    world.adjudicate(world.adjudicator, RULING)
    assert _shown(world, world.adjudicator) == [1, 3]


def test_a_picture_of_two_cases_is_hidden_until_both_are_finished(world: World) -> None:
    with world.sessions.begin() as session:
        twin = store.cases.add_case(session, world.reader, accession=None, magnification=None)
        same = session.get_one(tables.Image, 1)
        copy = tables.Image(
            case_id=twin, position=1, source_sha256=sha256_of("saved again as TIFF"), file_sha256=same.file_sha256,
            height=460, width=700, sharpness=1, tissue_fraction=1, findings=[], added_at=same.added_at,
        )  # fmt: skip
        session.add(copy)
    world.read(world.reader, world.case_id, SAYS_MALIGNANT)
    assert _shown(world, world.reader) == [3]
    world.read(world.reader, twin, SAYS_MALIGNANT, seen=())
    assert _shown(world, world.reader) == [1, 3]


def test_a_case_that_is_read_again_in_a_study_hides_its_picture_until_the_study_is_closed(world: World) -> None:
    world.read(world.reader, world.case_id, SAYS_MALIGNANT)
    assert _shown(world, world.reader) == [1, 3]
    world.add(*study_rows(world.case_id, world.reader, world.readers[1]))
    assert _shown(world, world.reader) == [3]
    with world.sessions.begin() as session:
        session.get_one(tables.Study, 1).closed_at = OPENED
    assert _shown(world, world.reader) == [1, 3]


def test_a_sign_off_by_others_does_not_show_the_picture_to_who_has_not_read_it(world: World) -> None:
    world.read(world.readers[1], world.case_id, SAYS_MALIGNANT)
    world.sign_off(world.readers[1])
    assert _shown(world, world.reader) == [3]


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.ADMINISTRATOR], ids=str)
def test_who_reads_no_cases_sees_every_image(world: World, role: Role) -> None:
    with world.sessions.begin() as session:
        account = add_person(session, f"the {role}", role)
    assert _shown(world, account) == ALL


def test_an_older_evaluation_without_hashes_shows_no_image_to_who_has_cases_to_finish(world: World) -> None:
    older: Sequence[EvaluatedImage] = [evaluated_image(n, malignant=True, probability=0.9) for n in ALL]
    number = _evaluate(world, *older)
    assert _shown(world, world.reader, number) == []
    with world.sessions.read() as session:
        assert store.evaluations.hidden_images(session, world.reader, number) == HiddenImages((1, 2, 3), True)
        assert store.evaluations.hidden_images(session, world.reader, 1) == HiddenImages((1, 2), False)
    for case in world.cases:
        world.read(world.reader, case, SAYS_BENIGN)
    assert _shown(world, world.reader, number) == ALL


def test_the_administrator_learns_how_many_images_are_pictures_of_cases(world: World) -> None:
    number = _evaluate(world, _named(3))
    with world.sessions.read() as session:
        assert store.evaluations.overlap(session, None, 1) == Overlap(images=2, cases=2)
        assert store.evaluations.overlap(session, None, number) == Overlap(images=0, cases=0)
        assert store.evaluations.overlap(session, None, 1).words.startswith(
            "This evaluation shares 2 images with 2 cases."
        )
