"""The life of a case until it is opened: incomplete while its images join, then read on the images it has."""

import pytest
from sqlalchemy import select, text

from db import store, tables
from db.audit.verify import verify
from db.database import Sessions
from db.errors import CaseChangedError, IncompleteCaseError, NotAllowedError
from db.store.worklist import case_state
from db.values.accounts import Role
from db.values.intakes import write_positions
from db.values.reading import CaseState, StoredImage
from db.values.studies import StudyPlan
from tests.helpers.concurrency import at_once
from tests.helpers.rows import BENIGN, OPENED, stored_image
from tests.helpers.tampering import without_triggers
from tests.helpers.world import (
    World,
    add_person,
    analyse_all,
    make_case,
    make_reader,
    make_study_world,
    make_world,
    predictions_shown,
)

RECEIVED = 3


def receive(sessions: Sessions, account_id: int, images: int = RECEIVED) -> tuple[int, int]:
    """Begin to store a batch of images for a new case, with its first image; return case and intake."""
    with sessions.begin() as session:
        case_id = store.cases.add_case(session, account_id, accession=None, magnification=None)
        intake = store.intakes.begin_intake(session, account_id, case_id, images)
    join(sessions, case_id, intake, 1)
    return case_id, intake


def join(sessions: Sessions, case_id: int, intake: int, position: int) -> int:
    """Store one image of a batch."""
    with sessions.begin() as session:
        added = store.cases.add_image(session, case_id, image_named(intake, position))
        store.intakes.add_to_intake(session, intake, position, added.image_id)
    return added.image_id


def image_named(intake: int, position: int) -> StoredImage:
    return stored_image(f"image {position} of intake {intake}")


def end(sessions: Sessions, account_id: int, intake: int) -> None:
    with sessions.begin() as session:
        store.intakes.end_intake(session, account_id, intake)


def images_of_reads(sessions: Sessions) -> dict[int, set[int]]:
    with sessions.read() as session:
        rows = session.execute(select(tables.ReadImage.read_id, tables.ReadImage.image_id)).all()
    return {read: {image for of, image in rows if of == read} for read, _ in rows}


def test_an_incomplete_case_is_listed_as_such_and_nobody_can_open_or_read_it(sessions: Sessions) -> None:
    world = make_world(sessions, cases=1)
    case_id, intake = receive(sessions, world.reader)
    analyse_all(sessions)
    for account in (*world.readers, world.adjudicator):
        assert world.state(account, case_id) is CaseState.INCOMPLETE
        with sessions.read() as session:
            assert store.worklist.find_next_case(session, account, after=world.case_id) is None
            with pytest.raises(IncompleteCaseError, match="C-0002 is incomplete"):
                store.open_case.case_view(session, case_id, account)
        with sessions.begin() as session, pytest.raises(IncompleteCaseError):
            store.reads.record_first_read(session, case_id, account, BENIGN, OPENED)
        with sessions.begin() as session, pytest.raises(IncompleteCaseError):
            store.claims.claim_case(session, case_id, account)
    join(sessions, case_id, intake, 2)
    end(sessions, world.reader, intake)
    assert world.state(world.readers[1], case_id) is CaseState.WAITING
    analyse_all(sessions)
    assert world.state(world.readers[1], case_id) is CaseState.READY
    with sessions.begin() as session:
        assert len(store.open_case.open_case(session, case_id, world.readers[1]).images) == 2


def test_images_of_an_incomplete_case_are_shown_to_its_uploader_only(sessions: Sessions) -> None:
    world = make_world(sessions, cases=0)
    case_id, intake = receive(sessions, world.reader)
    with sessions.read() as session:
        (image,) = session.scalars(select(tables.Image.id).where(tables.Image.case_id == case_id))
        assert store.open_case.image_file(session, image, world.reader) == image_named(intake, 1).file_sha256
        with pytest.raises(IncompleteCaseError):
            store.open_case.image_file(session, image, world.readers[1])
    end(sessions, world.reader, intake)
    with sessions.read() as session:
        assert store.open_case.image_file(session, image, world.readers[1]) == image_named(intake, 1).file_sha256


def test_images_join_a_case_until_somebody_opens_it_and_no_longer(sessions: Sessions) -> None:
    world = make_world(sessions, cases=1)
    with sessions.read() as session:
        assert [case.id for case in store.intakes.own_cases(session, world.reader)] == [world.case_id]
    with sessions.begin() as session:
        forgotten = store.intakes.begin_intake(session, world.reader, world.case_id, 1)
    assert world.state(world.readers[1]) is CaseState.INCOMPLETE
    join(sessions, world.case_id, forgotten, 1)
    end(sessions, world.reader, forgotten)
    with sessions.begin() as session:
        store.open_case.open_case(session, world.case_id, world.readers[1])
    with sessions.read() as session:
        assert store.intakes.own_cases(session, world.reader) == []
    with sessions.begin() as session, pytest.raises(CaseChangedError, match="somebody has opened case C-0001"):
        store.intakes.begin_intake(session, world.reader, world.case_id, 1)
    with sessions.begin() as session, pytest.raises(CaseChangedError, match="somebody has opened"):
        store.cases.add_image(session, world.case_id, stored_image("late"))


def test_a_read_closes_a_case_to_images_even_if_its_opening_was_not_recorded(sessions: Sessions) -> None:
    world = make_world(sessions, cases=1)
    world.read_first(world.reader, world.case_id)
    with sessions.begin() as session, pytest.raises(CaseChangedError, match="somebody has opened"):
        store.cases.add_image(session, world.case_id, stored_image("late"))


def test_only_the_uploader_adds_images_to_a_case_or_orders_them(sessions: Sessions) -> None:
    world = make_world(sessions, cases=1)
    other = world.readers[1]
    with sessions.begin() as session:
        with pytest.raises(ValueError, match="uploaded by somebody else"):
            store.intakes.begin_intake(session, other, world.case_id, 1)
        with pytest.raises(ValueError, match="uploaded by somebody else"):
            store.intakes.order_images(session, other, world.case_id, [1])
    with sessions.read() as session:
        assert store.intakes.own_cases(session, other) == []


def test_images_that_join_between_looking_and_opening_stop_the_opening(sessions: Sessions) -> None:
    world = make_world(sessions, cases=1)
    with sessions.read() as session:
        seen = store.open_case.case_view(session, world.case_id, world.readers[1])
    with sessions.begin() as session:
        intake = store.intakes.begin_intake(session, world.reader, world.case_id, 1)
    with sessions.begin() as session, pytest.raises(IncompleteCaseError):
        store.open_case.record_opened(session, seen, world.readers[1])
    join(sessions, world.case_id, intake, 1)
    end(sessions, world.reader, intake)
    # Also if somebody else has opened it in between, with all its images.
    for somebody_has_opened in (False, True):
        if somebody_has_opened:
            with sessions.begin() as session:
                store.open_case.open_case(session, world.case_id, world.adjudicator)
        with sessions.begin() as session, pytest.raises(CaseChangedError, match="added or moved"):
            store.open_case.record_opened(session, seen, world.readers[1])
    with sessions.begin() as session:
        assert len(store.open_case.open_case(session, world.case_id, world.readers[1]).images) == 2


def test_a_read_names_the_images_it_was_given_on_and_is_sealed_with_them(sessions: Sessions, database_url: str) -> None:
    world = make_world(sessions, cases=0)
    case_id, intake = receive(sessions, world.reader)
    second = join(sessions, case_id, intake, 2)
    end(sessions, world.reader, intake)
    analyse_all(sessions)
    final = world.read(world.reader, case_id, BENIGN)
    with sessions.begin() as session:
        withdrawn = store.reads.withdraw_read(session, final.id, world.reader)
    first = final.id - 1
    assert images_of_reads(sessions) == {first: {second - 1, second}, final.id: {second - 1, second}}
    assert withdrawn.id not in images_of_reads(sessions)
    assert verify(sessions).findings == ()
    with without_triggers(database_url) as connection:
        connection.execute(text(f"DELETE FROM read_images WHERE read_id = {first} AND image_id = {second}"))  # noqa: S608
    assert [(found.kind, found.row) for found in verify(sessions).findings] == [("changed", f"reads {first}")]


def test_the_order_of_images_can_be_changed_until_the_case_is_opened(sessions: Sessions) -> None:
    world = make_world(sessions, cases=0)
    with sessions.begin() as session:
        case_id = make_case(session, world.reader, images=3)
    analyse_all(sessions)
    with sessions.read() as session:
        (case,) = store.intakes.own_cases(session, world.reader)
    first, second, third = case.images
    for order in ([third, first, second], [second, third, first]):
        with sessions.begin() as session:
            store.intakes.order_images(session, world.reader, case_id, order)
    with sessions.begin() as session:
        shown = store.open_case.open_case(session, case_id, world.reader).images
    assert [(image.id, image.position) for image in shown] == [(second, 1), (third, 2), (first, 3)]
    world.read(world.reader, case_id, BENIGN)
    with sessions.begin() as session:
        reveal = store.open_case.open_case(session, case_id, world.reader).reveal
        exported = store.exports.exported_case(session, case_id, world.reader, named=True)
    assert reveal
    assert [image.image_id for image in reveal.images] == [second, third, first]
    assert [(image.id, image.position) for image in exported.case.images] == [(second, 1), (third, 2), (first, 3)]
    with sessions.begin() as session, pytest.raises(CaseChangedError, match="somebody has opened"):
        store.intakes.order_images(session, world.reader, case_id, [first, second, third])
    assert verify(sessions).findings == ()


def test_an_image_that_joins_after_the_order_was_changed_comes_last(sessions: Sessions) -> None:
    world = make_world(sessions, cases=0)
    with sessions.begin() as session:
        case_id = make_case(session, world.reader, images=2)
    with sessions.read() as session:
        (case,) = store.intakes.own_cases(session, world.reader)
    with sessions.begin() as session:
        store.intakes.order_images(session, world.reader, case_id, case.images[::-1])
        added = store.cases.add_image(session, case_id, stored_image("forgotten"))
    with sessions.begin() as session:
        shown = store.open_case.open_case(session, case_id, world.reader).images
    assert [image.id for image in shown] == [*case.images[::-1], added.image_id]


def test_images_of_another_case_are_no_order_of_this_one(sessions: Sessions) -> None:
    world = make_world(sessions, cases=2)
    with sessions.read() as session:
        other, case = store.intakes.own_cases(session, world.reader)
    for images in (other.images, (*case.images, *other.images), case.images * 2, ()):
        with sessions.begin() as session, pytest.raises(ValueError, match="not the images of case"):
            store.intakes.order_images(session, world.reader, case.id, images)


def test_an_interrupted_intake_says_what_is_missing_and_is_completed_by_its_uploader_or_a_planner(
    sessions: Sessions,
) -> None:
    world = make_world(sessions, cases=0, can_sign_in=True)
    with sessions.begin() as session:
        planner = add_person(session, "the boss", Role.ADMINISTRATOR)
    uploader, other = world.readers
    interrupted = [receive(sessions, uploader, 10) for _ in range(2)]
    join(sessions, *interrupted[0], 2)
    join(sessions, *interrupted[0], 5)
    with sessions.read() as session:
        assert store.intakes.open_intakes(session, other) == []
        mine = store.intakes.open_intakes(session, uploader)
        assert store.intakes.open_intakes(session, planner) == mine
        planned = {case.accession: case.incomplete for case in store.planning.cases_to_plan(session, planner).rows}
    assert [(one.accession, one.stored, write_positions(one.missing)) for one in mine] == [
        ("C-0001", 3, "3 to 4, 6 to 10"),
        ("C-0002", 1, "2 to 10"),
    ]
    assert planned == {"C-0001": True, "C-0002": True}
    with sessions.begin() as session, pytest.raises(NotAllowedError):
        store.intakes.end_intake(session, other, mine[0].id)
    end(sessions, uploader, mine[0].id)
    end(sessions, planner, mine[1].id)
    for case_id, _ in interrupted:
        assert world.state(other, case_id) is CaseState.WAITING
    with sessions.read() as session:
        assert store.intakes.open_intakes(session, planner) == []
        ended = [event for event in store.audit.audit_trail(session) if event.action == "intake ended"]
    assert [(event.account, event.subject) for event in ended] == [("the boss", "C-0002"), ("dr. a", "C-0001")]


def test_an_image_cannot_join_after_somebody_has_completed_the_case_without_it(sessions: Sessions) -> None:
    world = make_world(sessions, cases=0)
    case_id, intake = receive(sessions, world.reader)
    end(sessions, world.reader, intake)
    with pytest.raises(CaseChangedError, match=r"dr\. a has completed the case without this image"):
        join(sessions, case_id, intake, 2)
    with sessions.read() as session:
        assert len(store.open_case.case_images(session, case_id)) == 1


def test_a_case_is_complete_when_the_missing_images_of_an_interrupted_batch_have_joined_it(sessions: Sessions) -> None:
    world = make_world(sessions, cases=0)
    case_id, _ = receive(sessions, world.reader, 4)
    for positions in ((1, 2), (1,)):
        with sessions.begin() as session:
            more = store.intakes.begin_intake(session, world.reader, case_id, 4)
        assert world.state(world.reader, case_id) is CaseState.INCOMPLETE
        for position in positions:
            join(sessions, case_id, more, position)
        end(sessions, world.reader, more)
        expected = CaseState.INCOMPLETE if positions == (1, 2) else CaseState.WAITING
        assert world.state(world.reader, case_id) is expected


def test_a_study_takes_no_incomplete_case_and_its_cases_take_no_images(sessions: Sessions) -> None:
    world = make_study_world(sessions, cases=1)
    case_id, intake = receive(sessions, world.planner)
    analyse_all(sessions)
    plan = StudyPlan("growing", world.readers, (*world.cases, case_id), world.plan_study().arms, 0, seed=7)
    with sessions.read() as session:
        (obstacle,) = store.studies.preview_study(session, world.planner, plan).obstacles
    assert (obstacle.case_id, obstacle.why) == (case_id, "is incomplete: its images are still being stored")
    end(sessions, world.planner, intake)
    study = world.make_study(plan)
    for case in (*world.cases, case_id):
        with sessions.begin() as session, pytest.raises(CaseChangedError, match="part of a study"):
            store.intakes.begin_intake(session, world.planner, case, 1)
        with sessions.begin() as session, pytest.raises(CaseChangedError, match="part of a study"):
            store.cases.add_image(session, case, stored_image("late"))
    opened = world.open_place(study)
    assert opened.case
    place = opened.study.place
    assert place
    first = world.read_at_place(place.id)
    final = world.read_at_place(place.id, seen=predictions_shown(world.open_place(study)))
    images = {image.id for image in opened.case.images}
    assert images_of_reads(sessions) == {first.id: images, final.id: images}


def test_a_case_of_one_image_needs_no_intake(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = make_case(session, account_id)
    with sessions.read() as session:
        assert case_state(session, case_id, account_id) is CaseState.WAITING
    world = World(sessions, (account_id,), cases=(case_id,))
    assert "intake begun" not in world.audited_actions()


@pytest.mark.parametrize(
    ("positions", "words"), [((), ""), ((3,), "3"), ((1, 2), "1 to 2"), ((9, 2, 4, 5, 6), "2, 4 to 6, 9")]
)
def test_positions_are_written_with_runs_drawn_together(positions: tuple[int, ...], words: str) -> None:
    assert write_positions(positions) == words


def test_whoever_opens_a_case_while_an_image_joins_it_sees_all_its_images_or_none(sessions: Sessions) -> None:
    world = make_world(sessions, cases=8)
    opener = world.readers[1]

    def race(case_id: int) -> list[object]:
        def act(who: int) -> int:
            if who:
                with sessions.begin() as session:
                    intake = store.intakes.begin_intake(session, world.reader, case_id, 1)
                return join(sessions, case_id, intake, 1)
            with sessions.read() as session:
                seen = store.open_case.case_view(session, case_id, opener)
            with sessions.begin() as session:
                return len(store.open_case.record_opened(session, seen, opener).images)

        return at_once(2, act)

    for case_id in world.cases:
        seen, joined = race(case_id)
        with sessions.read() as session:
            images = len(store.open_case.case_images(session, case_id))
        if isinstance(seen, int):
            assert (seen, images) == (1, 1)
            assert isinstance(joined, CaseChangedError)
        else:
            assert isinstance(seen, CaseChangedError)
            assert isinstance(joined, int)
            assert images == 2
