"""What a reader marks on the images is saved with the read, in image pixels, and never mixed with another read's."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError
from db.values.reading import Opinion, Read, Region, RegionKind
from tests.helpers.rows import BENIGN, MALIGNANT, OPENED
from tests.helpers.world import Reader, ready_case

WIDTH, HEIGHT = 700, 460  # of the stored images


def image_ids(sessions: Sessions, case_id: int) -> list[int]:
    with sessions.read() as session:
        return [image.id for image in store.open_case.case_images(session, case_id)]


def regions_of(image_id: int) -> tuple[Region, ...]:
    """Make one region of each kind."""
    return (
        Region(image_id, RegionKind.POINT, ((0.0, 0.0),), "mitosis"),
        Region(image_id, RegionKind.BOX, ((10.5, 20.1), (WIDTH, HEIGHT))),
        Region(image_id, RegionKind.SHAPE, tuple((float(x), float(x * x % 97)) for x in range(200))),
        Region(image_id, RegionKind.LINE, ((10.5, 20.1), (3.0, 400.0)), "diameter"),
    )


def first(sessions: Sessions, reader: Reader, opinion: Opinion) -> Read:
    with sessions.begin() as session:
        return store.reads.record_first_read(session, reader.case_id, reader.account_id, opinion, OPENED)


def count_regions(sessions: Sessions) -> int:
    with sessions.read() as session:
        return session.scalar(select(func.count()).select_from(tables.Region)) or 0


def test_regions_of_every_kind_come_back_as_they_were_marked(sessions: Sessions) -> None:
    reader = ready_case(sessions, images=2)
    marked = (*regions_of(image_ids(sessions, reader.case_id)[1]), *regions_of(image_ids(sessions, reader.case_id)[0]))
    saved = first(sessions, reader, replace(BENIGN, regions=marked))
    assert saved.opinion.regions == marked
    with sessions.begin() as session:
        assert store.open_case.open_case(session, reader.case_id, reader.account_id).first_read == saved
    with sessions.read() as session:
        assert store.reads.own_reads(session, reader.account_id) == [saved]


def test_the_first_and_the_final_read_keep_marks_of_their_own(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    marked = regions_of(image_ids(sessions, reader.case_id)[0])
    one = first(sessions, reader, replace(BENIGN, regions=marked))
    with sessions.begin() as session:
        said = replace(MALIGNANT, regions=marked[:1])
        two = store.reads.record_final_read(session, reader.case_id, reader.account_id, said, OPENED)
    with sessions.begin() as session:
        said = replace(MALIGNANT, regions=())
        store.reads.amend_read(session, reader.case_id, reader.account_id, said, OPENED, replaces=two.id)
    with sessions.read() as session:
        reads = store.reads.own_reads(session, reader.account_id)
    assert [read.opinion.regions for read in reads] == [one.opinion.regions, marked[:1], ()]


def test_the_same_marks_twice_are_one_read_and_others_are_refused(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    marked = regions_of(image_ids(sessions, reader.case_id)[0])
    said = replace(BENIGN, regions=marked)
    assert first(sessions, reader, said) == first(sessions, reader, said)
    with pytest.raises(CaseChangedError, match="already saved"):
        first(sessions, reader, replace(BENIGN, regions=marked[:2]))
    assert count_regions(sessions) == 4


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        (RegionKind.POINT, ((WIDTH + 0.1, 1.0),)),
        (RegionKind.POINT, ((1.0, HEIGHT + 0.1),)),
        (RegionKind.BOX, ((1.0, 1.0), (WIDTH + 1.0, 2.0))),
    ],
)
def test_a_mark_outside_its_image_is_refused(
    sessions: Sessions, kind: RegionKind, points: tuple[tuple[float, float], ...]
) -> None:
    reader = ready_case(sessions)
    outside = Region(image_ids(sessions, reader.case_id)[0], kind, points)
    with pytest.raises(ValueError, match="outside its image of 700 x 460 px"):
        first(sessions, reader, replace(BENIGN, regions=(outside,)))
    assert count_regions(sessions) == 0


def test_a_mark_on_an_image_of_another_case_is_refused(sessions: Sessions) -> None:
    reader, other = ready_case(sessions), ready_case(sessions, name="dr. b")
    foreign = regions_of(image_ids(sessions, other.case_id)[0])
    with pytest.raises(ValueError, match="does not belong to this case"):
        first(sessions, reader, replace(BENIGN, regions=foreign))
    with sessions.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Read)) == 0


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        (RegionKind.POINT, ()),
        (RegionKind.POINT, ((1.0, 1.0), (2.0, 2.0))),
        (RegionKind.POINT, ((-0.1, 1.0),)),
        (RegionKind.POINT, ((float("nan"), 1.0),)),
        (RegionKind.BOX, ((5.0, 5.0), (5.0, 9.0))),
        (RegionKind.BOX, ((5.0, 5.0), (4.0, 9.0))),
        (RegionKind.SHAPE, ((1.0, 1.0), (2.0, 2.0))),
        (RegionKind.SHAPE, ((1.0, 1.0),) * 2001),
    ],
)
def test_what_is_no_region_cannot_be_made(kind: RegionKind, points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match=r"point|box|shape|inside"):
        Region(1, kind, points)
    with pytest.raises(ValueError, match="200 characters"):
        Region(1, RegionKind.POINT, ((1.0, 1.0),), "n" * 201)
