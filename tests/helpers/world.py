"""One database with the people, cases, reads and studies that a test needs, on SQLite or PostgreSQL.

The functions work on any database. `World` remembers whom and what it made, so that a test can speak of
"the first reader" and "the case". Images are real where a world has a folder; else they are rows only.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.card import Card, InputPolicy, Metric, TrainingData
from core.imaging.heatmaps import encode_heatmap, encode_scope_map
from core.labels import BINARY
from core.pipeline import analyse
from core.results import Analysis, Scope
from core.settings import Settings
from db import store, tables
from db.database import Sessions
from db.errors import NotAllowedError, NotRevealedError
from db.files import Files
from db.store.worklist import case_state
from db.values.accounts import Role
from db.values.adjudication import Adjudication, Amendment, Consensus, ProposedSignOff, Ruling, SignOff, SignOffView
from db.values.jobs import Job, StoredHeatmap
from db.values.reading import Arm, CaseState, CaseView, ModelIdentity, OnScreen, Opinion, Read, Stage
from db.values.studies import OpenedPlace, StudyPlan
from service.intake import CasePlan, add_images
from tests.helpers import rows
from tests.helpers.databases import open_new
from tests.helpers.fakes import FakeClassifier
from tests.helpers.images.tissue import tissue_png

PASSWORD = "a long sentence about trees"
# The model that analyses real pixels; its names must not reach the screen before the first read.
CARD = Card(
    name="telltale network",
    label_set=BINARY,
    branches=("test_efficientnet",),
    head="additive",
    input_policy=InputPolicy("patches", input_side=32, patch_side=224, stride=224),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    threshold=0.4375,
    training_data=TrainingData("BreaKHis", 240, 24),
    metrics=(Metric("AUC by image", 0.81, 0.7, 0.9, "out of fold, 24 patients"),),
    demonstration=True,
)
CARD_MODEL = ModelIdentity("0123456789ab", CARD.name, demonstration=True)
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Reader:
    """One account, and one case for it to read."""

    account_id: int
    case_id: int


def make_reader(session: Session, name: str = "dr. a") -> int:
    return store.accounts.add_account(session, name, Role.READER).id


def add_person(session: Session, name: str, role: Role) -> int:
    """Make an account that counts as one that can sign in, so that this is no single-reader mode."""
    account_id = store.accounts.add_account(session, name, role).id
    add_sign_in(session, account_id)
    return account_id


def add_sign_in(session: Session, account_id: int) -> None:
    """Let an account count as one that can sign in; it has no password."""
    session.add(tables.Credential(account_id=account_id, password_hash=None, disabled=False, changed_at=rows.OPENED))


def make_case(session: Session, account_id: int, *, images: int = 1, magnification: str | None = "100X") -> int:
    """Make a case whose images are rows without files."""
    case_id = store.cases.add_case(session, account_id, accession=None, magnification=magnification)
    for position in range(images):
        store.cases.add_image(session, case_id, rows.stored_image(f"case {case_id}, image {position}"))
    return case_id


def analyse_all(
    sessions: Sessions, malignant: float = 0.8, *, model: ModelIdentity = rows.MODEL, result: Analysis | None = None
) -> None:
    """End every queued job with the same result, without looking at a pixel."""
    while job := claim_job(sessions):
        with sessions.begin() as session:
            done = result or rows.analysis(malignant)
            file = rows.heatmap(f"map of {job.image_id}") if done.prediction else None
            strange = rows.scope_map(done, job.image_id)
            assert store.jobs.finish_job(session, job, "w", done, model=model, heatmap=file, scope_map_sha256=strange)


def analyse_each(sessions: Sessions, *results: Analysis) -> None:
    """End the next queued jobs with these results, without looking at a pixel."""
    for result in results:
        job = claim_job(sessions)
        assert job is not None, "fewer jobs than results"
        with sessions.begin() as session:
            file = rows.heatmap(f"map of {job.image_id}") if result.prediction else None
            strange = rows.scope_map(result, job.image_id)
            assert store.jobs.finish_job(
                session, job, "w", result, model=rows.MODEL, heatmap=file, scope_map_sha256=strange
            )


def let_all_meet_the_model(sessions: Sessions) -> None:
    """Let everybody who reads confirm the explanation of every model that has analysed something."""
    with sessions.begin() as session:
        versions = session.scalars(select(tables.Prediction.model_version).distinct()).all()
        for account in session.scalars(select(tables.Account)).all():
            for version in versions:
                with suppress(NotAllowedError):  # no reader, or the single reader where there are accounts
                    store.models.confirm_model(session, account.id, version)


def claim_job(sessions: Sessions, worker: str = "w") -> Job | None:
    with sessions.begin() as session:
        return store.jobs.claim_job(session, worker)


def ready_case(sessions: Sessions, *, images: int = 1, malignant: float = 0.8, name: str = "dr. a") -> Reader:
    """Make a reader and an analysed case."""
    with sessions.begin() as session:
        account_id = make_reader(session, name)
        case_id = make_case(session, account_id, images=images)
    analyse_all(sessions, malignant)
    return Reader(account_id, case_id)


def revealed_case(sessions: Sessions, *, images: int = 1, malignant: float = 0.8) -> Reader:
    """Make a reader who has saved a first read of an analysed case."""
    reader = ready_case(sessions, images=images, malignant=malignant)
    with sessions.begin() as session:
        store.reads.record_first_read(session, reader.case_id, reader.account_id, rows.BENIGN, rows.OPENED)
    return reader


@dataclass(frozen=True, slots=True)
class World:
    """A database, and the numbers of the accounts and cases that were made in it."""

    sessions: Sessions
    readers: tuple[int, ...]
    adjudicators: tuple[int, ...] = ()
    cases: tuple[int, ...] = ()
    folder: Path | None = None  # where files are, if images are more than rows
    planner: int = 0
    number: int = 0  # in the names of its accounts and of its study, where several share a database

    @property
    def reader(self) -> int:
        """The first reader."""
        return self.readers[0]

    @property
    def adjudicator(self) -> int:
        """The first adjudicator."""
        return self.adjudicators[0]

    @property
    def case_id(self) -> int:
        """The first case."""
        return self.cases[0]

    @property
    def settings(self) -> Settings:
        """Settings of an installation in the folder; there is no checkpoint yet."""
        assert self.folder is not None, "this world has no folder"
        database = f"sqlite:///{self.folder / 'second_read.sqlite'}"
        return Settings(self.folder, database, self.folder / "small.safetensors", None, "cpu", 1)

    @property
    def files(self) -> Files:
        """The stored images and heat maps."""
        return Files(self.settings.files)

    def add_case(
        self,
        *seeds: int,
        accession: str | None = None,
        magnification: str | None = "100X",
        pixels: Callable[[int], bytes] = tissue_png,
    ) -> int:
        """Take in one case with an image for each seed, as an upload does."""
        plan = CasePlan(self.reader, magnification, accession)
        named = [(f"image {seed}.png", pixels(seed)) for seed in seeds]
        taken = list(add_images(self.sessions, self.files, plan, named))
        case_id = taken[0].case_id
        assert case_id is not None, taken
        return case_id

    def analyse(self, malignant: float = 0.8125, *scopes: Scope) -> None:
        """Do what the worker does with all that is queued, with a classifier that answers one probability.

        `scopes` are those of the images in turn; by default, none is measured.
        """
        measured = iter(scopes)
        while (job := claim_job(self.sessions, "test")) is not None:
            analysis = analyse(self.files.get(job.file_sha256), FakeClassifier(CARD, malignant))
            analysis = rows.with_scope(analysis, scope) if (scope := next(measured, None)) else analysis
            stored = None
            if analysis.heatmap is not None:
                low, high = float(analysis.heatmap.min()), float(analysis.heatmap.max())
                stored = StoredHeatmap(self.files.put(encode_heatmap(analysis.heatmap)), low, high)
            strange = None
            if analysis.scope is not None and analysis.scope.level != "in":
                ramp = np.tile(np.linspace(0.5, 2, analysis.width, dtype=np.float32), (analysis.height, 1))
                strange = self.files.put(encode_scope_map(ramp))
            with self.sessions.begin() as session:
                assert store.jobs.finish_job(
                    session, job, "test", analysis, model=CARD_MODEL, heatmap=stored, scope_map_sha256=strange
                )

    def fail_jobs(self, message: str) -> None:
        """End every queued job without a result."""
        while (job := claim_job(self.sessions, "test")) is not None:
            with self.sessions.begin() as session:
                store.jobs.fail_job(session, job, "test", message)

    def add(self, *made: tables.Base) -> None:
        """Write rows."""
        with self.sessions.begin() as session:
            session.add_all(made)

    def open_case(self, case_id: int) -> CaseView:
        """Open a case as the first reader."""
        with self.sessions.begin() as session:
            return store.open_case.open_case(session, case_id, self.reader)

    def reads(self, case_id: int) -> list[Read]:
        """Return all reads of a case by the first reader, oldest first."""
        with self.sessions.read() as session:
            return store.reads.own_reads(session, self.reader, case_id=case_id)

    def end_undo(self, account_id: int) -> None:
        """Do what a page does before it shows what others said."""
        with self.sessions.begin() as session:
            store.reads.end_undo(session, account_id)

    def state(self, account_id: int, case_id: int | None = None) -> CaseState:
        """Return the state of a case, of the first one unless another is named, once Undo has ended."""
        self.end_undo(account_id)
        with self.sessions.read() as session:
            return case_state(session, case_id or self.case_id, account_id)

    def read_first(self, account_id: int, case_id: int, opinion: Opinion = rows.SAYS_MALIGNANT) -> Read:
        """Save a first read."""
        with self.sessions.begin() as session:
            return store.reads.record_first_read(session, case_id, account_id, opinion, rows.OPENED)

    def read(
        self,
        account_id: int,
        case_id: int,
        opinion: Opinion,
        *,
        first: Opinion | None = None,
        seen: Sequence[int] | None = None,
    ) -> Read:
        """Read a case to the end, with the same opinion before the reveal unless `first` is given.

        With `seen=()` the model had no result; else it says malignant, and who contradicts it has a reason.
        """
        blind = replace(first or opinion, reason=None, vote=None)
        contradicts = opinion.label == "benign" and seen is None
        final = replace(opinion, reason=opinion.reason or "quality") if contradicts else opinion
        with self.sessions.begin() as session:
            store.reads.record_first_read(session, case_id, account_id, blind, rows.OPENED)
            on_screen = None if seen is None else OnScreen(seen)
            return store.reads.record_final_read(session, case_id, account_id, final, rows.OPENED, seen=on_screen)

    def read_differently(self) -> tuple[Read, Read]:
        """Let the first reader say malignant, as the model does, and the second one benign."""
        one, other = self.readers
        return self.read(one, self.case_id, rows.SAYS_MALIGNANT), self.read(other, self.case_id, rows.SAYS_BENIGN)

    def amend(self, account_id: int, opinion: Opinion) -> Read:
        """Amend a reader's final read of the first case."""
        with self.sessions.begin() as session:
            return store.reads.amend_read(session, self.case_id, account_id, opinion, rows.OPENED)

    def cases_to_adjudicate(self, account_id: int) -> list[str]:
        """Name the cases that wait for an adjudicator."""
        with self.sessions.read() as session:
            return [case.accession for case in store.adjudication.cases_to_adjudicate(session, account_id).rows]

    def open_adjudication(self, account_id: int) -> Adjudication:
        """Open the first case as an adjudicator."""
        with self.sessions.begin() as session:
            return store.adjudication.open_adjudication(session, self.case_id, account_id)

    def adjudicate(
        self, account_id: int, ruling: Ruling = rows.RULING, seen: tuple[int, ...] | None = None
    ) -> Consensus:
        """Save a consensus on the first case, on what the adjudicator sees now, or saw."""
        shown = tuple(read.read_id for read in self.open_adjudication(account_id).reads) if seen is None else seen
        with self.sessions.begin() as session:
            return store.adjudication.record_consensus(
                session, self.case_id, account_id, ruling, rows.OPENED, seen=shown
            )

    def view_sign_off(self, account_id: int) -> SignOffView:
        """Look at the sign-off of the first case, which ends Undo."""
        self.end_undo(account_id)
        with self.sessions.read() as session:
            return store.sign_offs.sign_offs_of(session, self.case_id, account_id)

    def sign_off(self, account_id: int, proposed: ProposedSignOff | None = None, note: str = "") -> SignOff:
        """Sign what is proposed for the first case now, or was, after a look at it."""
        self.end_undo(account_id)
        wanted = proposed or self.view_sign_off(account_id).proposed
        assert wanted is not None, self.view_sign_off(account_id)
        with self.sessions.begin() as session:
            return store.sign_offs.sign_off(session, self.case_id, account_id, wanted, note)

    def amend_sign_off(self, account_id: int, amended: Amendment, replaces: int = 1) -> SignOff:
        """Amend the sign-off of the first case after a look at it."""
        self.end_undo(account_id)
        with self.sessions.begin() as session:
            return store.sign_offs.amend_sign_off(session, self.case_id, account_id, amended, replaces_version=replaces)

    def audited_actions(self) -> list[str]:
        """Return what the audit trail says of the first case, oldest first."""
        with self.sessions.begin() as session:
            return [event.action for event in store.audit.audit_trail(session, subject="C-0001")][::-1]

    @property
    def study_name(self) -> str:
        """The name of the study that is planned here."""
        return f"pilot {self.number}"

    def plan_study(
        self, arms: Sequence[Arm] = (Arm.BLIND_FIRST,), *, name: str = "", washout_days: float = 0
    ) -> StudyPlan:
        """Plan a study with every reader and every case."""
        return StudyPlan(name or self.study_name, self.readers, self.cases, tuple(arms), washout_days, seed=7)

    def make_study(self, plan: StudyPlan) -> int:
        """Make a study."""
        with self.sessions.begin() as session:
            return store.studies.make_study(session, self.planner, plan)

    def close_study(self, study: int) -> None:
        """Close a study."""
        with self.sessions.begin() as session:
            store.studies.close_study(session, self.planner, study)

    def open_place(self, study: int, reader: int | None = None) -> OpenedPlace:
        """Open what comes now in a study, for the first reader unless another is named."""
        with self.sessions.begin() as session:
            return store.study_reading.open_place(session, study, reader or self.reader)

    def read_at_place(
        self,
        place: int,
        opinion: Opinion = rows.MALIGNANT,
        *,
        seen: Sequence[int] | None = None,
        reader: int | None = None,
    ) -> Read:
        """Save an opinion at a place of a study."""
        with self.sessions.begin() as session:
            return store.study_reading.record_study_read(
                session,
                place,
                reader or self.reader,
                opinion,
                rows.OPENED,
                seen=None if seen is None else OnScreen(seen),
            )

    def finish_place(self, study: int, reader: int | None = None) -> OpenedPlace:
        """Read the case that comes now to its end, agreeing with the model, and return what was opened."""
        opened = self.open_place(study, reader)
        if (place := opened.study.place) is None:
            raise AssertionError("nothing is left to read")
        if place.arm is not Arm.MODEL_FIRST:
            self.read_at_place(place.id, reader=reader)
        if place.arm is not Arm.UNAIDED:
            self.read_at_place(place.id, seen=predictions_shown(self.open_place(study, reader)), reader=reader)
        return opened

    def backdate_round(self, study: int, days: float, reader: int | None = None) -> None:
        """Write the unaided reads of the whole round as if they had been given so many days ago."""
        account = reader or self.reader
        with self.sessions.begin() as session:
            opened = store.study_reading.open_place(session, study, account).study.place
            assert opened is not None
            when = datetime.now(UTC) - timedelta(days=days)
            row = tables.StudyPlace
            query = select(row).where(row.study_id == study, row.account_id == account, row.round == opened.round)
            for place in session.scalars(query):
                session.add(_unaided_read(place, when))

    def backdate_place(self, study: int, days: float) -> None:
        """Write the unaided read of the case that comes now as if the first reader had given it so many days ago."""
        with self.sessions.begin() as session:
            opened = store.study_reading.open_place(session, study, self.reader).study.place
            assert opened is not None
            place = session.get_one(tables.StudyPlace, opened.id)
            session.add(_unaided_read(place, datetime.now(UTC) - timedelta(days=days)))

    def sees_heatmaps(self, case_id: int, reader: int) -> bool:
        """Ask for the heat map of the only image of a case as the route does."""
        with self.sessions.read() as session:
            image = session.scalars(select(tables.Image.id).where(tables.Image.case_id == case_id)).one()
            try:
                return bool(store.open_case.heatmap_file(session, image, reader))
            except NotRevealedError:
                return False

    def count_reads(self) -> int:
        """Count what all its readers have saved."""
        with self.sessions.read() as session:
            query = select(func.count()).select_from(tables.Read).where(tables.Read.account_id.in_(self.readers))
            return session.scalar(query) or 0

    def actions_of_reader(self) -> list[tuple[str, str]]:
        """Return what the first reader of a study did, oldest first."""
        with self.sessions.read() as session:
            events = store.audit.audit_trail(session, limit=None)
        name = f"dr. a {self.number}"
        return [(event.action, event.subject) for event in reversed(events) if event.account == name]


def make_world(
    sessions: Sessions,
    *,
    readers: int = 2,
    adjudicators: int = 1,
    cases: int = 1,
    malignant: float = 0.8,
    can_sign_in: bool = False,
) -> World:
    """Make dr. a, dr. b ..., the adjudicators dr. j, dr. k ..., and analysed cases; nobody has read anything yet."""
    with sessions.begin() as session:

        def add(name: str, role: Role) -> int:
            return (
                add_person(session, name, role) if can_sign_in else store.accounts.add_account(session, name, role).id
            )

        reading = tuple(add(f"dr. {letter}", Role.READER) for letter in "abcdefgh"[:readers])
        settling = tuple(add(f"dr. {letter}", Role.ADJUDICATOR) for letter in "jklm"[:adjudicators])
        made = tuple(make_case(session, reading[0]) for _ in range(cases))
    analyse_all(sessions, malignant)
    return World(sessions, reading, settling, made)


def make_study_world(sessions: Sessions, *, cases: int = 3, readers: int = 1) -> World:
    """Make readers and analysed cases for a study, with a planner of its own; as often as wanted in one database."""
    number = next(_NUMBERS)
    with sessions.begin() as session:
        accounts = tuple(make_reader(session, f"dr. {letter} {number}") for letter in "abcdefgh"[:readers])
        planner = make_reader(session, f"planner {number}")
        made = tuple(make_case(session, planner) for _ in range(cases))
    analyse_all(sessions)
    return World(sessions, accounts, cases=made, planner=planner, number=number)


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Open an empty installation in single-reader mode, with real files, until the block ends."""
    sessions = open_new(folder / "second_read.sqlite")
    with sessions.begin() as session:
        reader = store.accounts.single_reader(session).id
        # Who reads here has met the model: tests of that itself take the confirmation of another version.
        store.models.confirm_model(session, reader, CARD_MODEL.version)
    yield World(sessions, (reader,), folder=folder)
    sessions.dispose()


def write_card(path: Path, card: Card) -> None:
    """Write a checkpoint that has a card and no weights."""
    header = json.dumps({"__metadata__": {"card": card.to_json()}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def predictions_shown(opened: OpenedPlace) -> tuple[int, ...]:
    """Return the predictions that are on the screen."""
    reveal = opened.case.reveal if opened.case else None
    return tuple(image.prediction_id for image in reveal.images) if reveal else ()


def place_of(opened: OpenedPlace) -> int:
    """Return the number of the place that was opened."""
    assert opened.study.place is not None
    return opened.study.place.id


def _unaided_read(place: tables.StudyPlace, when: datetime) -> tables.Read:
    return tables.Read(
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
