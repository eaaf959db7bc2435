"""Readers, analysed cases and a study for the tests of reading in a study."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import func, select

from db import models, store
from db.errors import NotRevealedError
from db.reading_models import StudyPlace
from db.reading_values import Arm
from db.session import Sessions, open_database
from db.study_values import OpenedPlace, StudyPlan
from db.values import Opinion, Read, Stage
from tests.conftest import empty_database, with_tables
from tests.helpers.rows import MALIGNANT, OPENED
from tests.helpers.world import analyse_all, make_case, make_reader

BLIND = (Arm.BLIND_FIRST,)
CROSSOVER = (Arm.UNAIDED, Arm.MODEL_FIRST)
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Ward:
    """Readers and cases that the model calls malignant; the planner is an account of its own."""

    sessions: Sessions
    number: int  # in the names of its accounts and of its study
    planner: int
    readers: tuple[int, ...]
    cases: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name the study that is planned here."""
        return f"pilot {self.number}"

    def plan(self, arms: Sequence[Arm] = BLIND, *, name: str = "", washout_days: float = 0) -> StudyPlan:
        """Plan a study with everyone and everything."""
        return StudyPlan(name or self.name, self.readers, self.cases, tuple(arms), washout_days, seed=7)

    def make(self, plan: StudyPlan) -> int:
        """Make a study."""
        with self.sessions.begin() as session:
            return store.make_study(session, self.planner, plan)

    def close(self, study: int) -> None:
        """Close a study."""
        with self.sessions.begin() as session:
            store.close_study(session, self.planner, study)

    def open(self, study: int, reader: int | None = None) -> OpenedPlace:
        """Open what comes now, for the first reader unless another is named."""
        with self.sessions.begin() as session:
            return store.open_place(session, study, reader or self.readers[0])

    def save(
        self, place: int, opinion: Opinion = MALIGNANT, *, seen: Sequence[int] | None = None, reader: int | None = None
    ) -> Read:
        """Save an opinion at a place."""
        with self.sessions.begin() as session:
            return store.record_study_read(session, place, reader or self.readers[0], opinion, OPENED, seen=seen)

    def finish(self, study: int, reader: int | None = None) -> OpenedPlace:
        """Read the case that comes now to its end, agreeing with the model, and give what was opened."""
        opened = self.open(study, reader)
        if (place := opened.study.place) is None:
            raise AssertionError("nothing is left to read")
        if place.arm is not Arm.MODEL_FIRST:
            self.save(place.id, reader=reader)
        if place.arm is not Arm.UNAIDED:
            self.save(place.id, seen=shown(self.open(study, reader)), reader=reader)
        return opened

    def backdate(self, study: int, days: float, reader: int | None = None) -> None:
        """Write the unaided reads of the whole round as if they had been given so many days ago."""
        account = reader or self.readers[0]
        with self.sessions.begin() as session:
            found = store.open_place(session, study, account).study.place
            assert found is not None
            when = datetime.now(UTC) - timedelta(days=days)
            row = StudyPlace
            query = select(row).where(row.study_id == study, row.account_id == account, row.round == found.round)
            for place in session.scalars(query):
                session.add(_unaided_read(place, when))


def _unaided_read(place: StudyPlace, when: datetime) -> models.Read:
    return models.Read(
        case_id=place.case_id,
        account_id=place.account_id,
        stage=Stage.FIRST,
        label="benign",
        confidence=3,
        note="",
        model_visible=False,
        opened_at=when,
        saved_at=when,
        place_id=place.id,
    )


def shown(opened: OpenedPlace) -> tuple[int, ...]:
    """Give the predictions that are on the screen."""
    reveal = opened.case.reveal if opened.case else None
    return tuple(image.prediction_id for image in reveal.images) if reveal else ()


def place_of(opened: OpenedPlace) -> int:
    """Give the number of the place that was opened."""
    assert opened.study.place is not None
    return opened.study.place.id


def sees_heatmaps(room: Ward, case: int, reader: int) -> bool:
    """Ask for the heat map of the only image of a case as the route does."""
    with room.sessions.read() as session:
        image = session.scalars(select(models.Image.id).where(models.Image.case_id == case)).one()
        try:
            return bool(store.heatmap_file(session, image, reader))
        except NotRevealedError:
            return False


def count_reads(room: Ward) -> int:
    """Count what all readers of a ward have saved."""
    with room.sessions.read() as session:
        query = select(func.count()).select_from(models.Read).where(models.Read.account_id.in_(room.readers))
        return session.scalar(query) or 0


def actions(room: Ward) -> list[tuple[str, str]]:
    """Give what the first reader did, oldest first."""
    with room.sessions.read() as session:
        events = store.audit_trail(session, limit=None)
    return [(event.action, event.subject) for event in reversed(events) if event.account == f"dr. a {room.number}"]


def ward(sessions: Sessions, *, cases: int = 3, readers: int = 1) -> Ward:
    """Make readers and analysed cases, as many as wanted in one database."""
    number = next(_NUMBERS)
    with sessions.begin() as session:
        accounts = tuple(make_reader(session, f"dr. {letter} {number}") for letter in "abcdefgh"[:readers])
        planner = make_reader(session, f"planner {number}")
        made = tuple(make_case(session, planner) for _ in range(cases))
    analyse_all(sessions)
    return Ward(sessions, number, planner, accounts, made)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def sessions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    """Sessions of one database for all tests of a module, which costs less than one for each."""
    with empty_database(request, tmp_path_factory.mktemp("studies")) as url:
        with_tables(request, url)
        opened = open_database(url)
        yield opened
        opened.dispose()


@pytest.fixture
def own_sessions(request: pytest.FixtureRequest, database_url: str) -> Iterator[Sessions]:
    """Sessions of a database of one's own, where accounts with passwords or all cases matter."""
    with_tables(request, database_url)
    opened = open_database(database_url)
    yield opened
    opened.dispose()
