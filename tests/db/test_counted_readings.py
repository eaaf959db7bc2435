"""What the database counts of readings gives the figures that all readings give, and finds the cases behind them."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core.labels import Malignancy
from core.reading.agreement import count_cases, count_readings, count_without_opinion, reader_couples
from core.reading.reveal_effect import Seconds
from core.results import Reading
from db import store, tables
from db.database import Sessions, open_database
from db.errors import NotAllowedError
from db.values.accounts import Role
from db.values.adjudication import Severity
from db.values.agreement import ComparedReadings, ReadCase, ReadingFilter, SlowReading, TimedStage
from db.values.reading import Arm, ModelIdentity, Stage, Vote
from pages.ui.agreement import figures
from tests.helpers.databases import new_database
from tests.helpers.rows import MODEL, NEWER_MODEL, OPENED, prediction, scope_row
from tests.helpers.world import add_person, make_case

_CASES = 70
_LABELS: tuple[Malignancy | None, ...] = ("benign", "malignant", "malignant", None)
_SAVED = datetime.now(UTC).replace(microsecond=999_650) - timedelta(days=1)


class Rows:
    """Rows of reads, studies, consensus and sign-offs as no program would order them, but as the rules allow."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session, self.dice = session, random.Random(seed)  # noqa: S311 (a test, no secret)
        self.readers = [add_person(session, f"dr. {letter}", Role.READER) for letter in "cab"]
        self.adjudicator = add_person(session, "dr. j", Role.ADJUDICATOR)
        self.researcher = add_person(session, "res", Role.RESEARCHER)
        self.planner = add_person(session, "the planner", Role.ADMINISTRATOR)
        self.studies = [self._study(number) for number in range(3)]
        for number in range(_CASES):
            self._case(number)

    def _study(self, number: int) -> tables.Study:
        study = tables.Study(
            name=f"study {number}",
            seed=1,
            washout_days=0,
            counterbalanced=False,
            created_by_id=self.planner,
            created_at=OPENED,
            closed_at=None if number == 2 else OPENED,
        )
        self.session.add(study)
        self.session.flush()
        return study

    def _case(self, number: int) -> None:
        dice, session = self.dice, self.session
        self.usual = dice.random() < 0.6  # read alike by everybody
        power = "40X" if self.usual else dice.choice(("40X", "100X", None))
        case_id = make_case(session, self.readers[0], magnification=power)
        session.get_one(tables.Case, case_id).demonstration = not self.usual and dice.random() < 0.1
        image = session.query(tables.Image).filter_by(case_id=case_id).one()
        shown = [self._prediction(image.id, model) for model in (MODEL, NEWER_MODEL)]
        out = scope_row(image.id)
        out.id, out.job_id, out.level, out.model_version = number + 1, image.id, "out", NEWER_MODEL.version
        session.add(out)
        session.flush()
        for account in (*self.readers, self.adjudicator):
            if dice.random() < 0.8 and (not self.usual or account != self.adjudicator):
                self._reading(case_id, account, None, shown, out.id)
        for place, study in enumerate(self.studies):
            if dice.random() < 0.15 and not self.usual:
                account = dice.choice(self.readers)
                row = tables.StudyPlace(
                    study_id=study.id,
                    account_id=account,
                    case_id=case_id,
                    round=1,
                    arm=Arm.BLIND_FIRST,
                    iteration=1,
                    position=number,
                )
                session.add(row)
                session.flush()
                if place < 2 or dice.random() < 0.5:
                    self._reading(case_id, account, row.id, shown, out.id)
        self._settle(case_id)

    def _prediction(self, image_id: int, model: ModelIdentity) -> int:
        value = prediction(self.dice.random())
        row = tables.Prediction(
            image_id=image_id,
            model_version=model.version,
            model_name="m",
            demonstration=False,
            label_set=value.label_set.name,
            classes=list(value.label_set.classes),
            malignant_classes=list(value.label_set.malignant),
            probabilities=list(value.probabilities),
            malignant_probability=value.malignant_probability,
            threshold=value.threshold,
            benign_patches=1,
            malignant_patches=2,
            created_at=OPENED,
        )
        self.session.add(row)
        self.session.flush()
        return row.id

    def _reading(self, case_id: int, account: int, place: int | None, shown: Sequence[int], out: int) -> None:
        dice = self.dice
        rare = 0.0 if self.usual else 0.1
        self._read(case_id, account, place, Stage.FIRST, None, informed=dice.random() < rare)
        last = None
        for stage in "f" if self.usual else dice.choice(("", "f", "f", "f", "ff", "fw", "fwf", "fff")):
            kind = Stage.FINAL if stage == "f" else Stage.WITHDRAWN
            read = self._read(case_id, account, place, kind, last, informed=dice.random() < rare)
            last = read.id
            if read.shown_scope == "out":
                self.session.add(tables.ReadScope(read_id=read.id, scope_id=out))
            elif read.model_visible:
                prediction_id = shown[0] if self.usual else dice.choice(shown)
                self.session.add(tables.ReadPrediction(read_id=read.id, prediction_id=prediction_id))
            self.session.flush()

    def _read(
        self, case_id: int, account: int, place: int | None, stage: Stage, replaces: int | None, *, informed: bool
    ) -> tables.Read:
        dice = self.dice
        label = None if stage is Stage.WITHDRAWN else dice.choice(_LABELS[:2] if self.usual else _LABELS)
        screens = ("model",) if self.usual else ("model", "model", "out", "nothing")
        screen = dice.choice(screens) if stage is Stage.FINAL else "nothing"
        saved = _SAVED + timedelta(seconds=dice.randrange(1000))
        row = tables.Read(
            case_id=case_id,
            account_id=account,
            stage=stage,
            label=label,
            confidence=(4 if self.usual else dice.randint(1, 5)) if label else None,
            note="",
            vote=dice.choice((None, *Vote)) if stage is Stage.FINAL and not self.usual else None,
            model_visible=screen == "model",
            shown_probability=(0.9 if self.usual else dice.choice((0.2, 0.5, 0.9))) if screen == "model" else None,
            shown_threshold=0.5 if screen == "model" else None,
            # Some begin less than a millisecond before a whole second.
            opened_at=(saved - timedelta(microseconds=dice.randrange(10**8))).replace(
                microsecond=dice.choice((0, 1, 250_000, 999_700, 999_999))
            ),
            saved_at=saved,
            supersedes_id=replaces,
            place_id=place,
            informed=dice.choice((None, False)) if not informed else True,
            shown_scope="out" if screen == "out" else None,
        )
        self.session.add(row)
        self.session.flush()
        return row

    def _settle(self, case_id: int) -> None:
        dice, before = self.dice, None
        blind = self.session.query(tables.Read).filter_by(case_id=case_id, account_id=self.adjudicator).first()
        if blind is not None and dice.random() < 0.5:
            for _ in range(dice.choice((1, 2))):
                label = dice.choice(_LABELS)
                row = tables.Consensus(
                    case_id=case_id,
                    account_id=self.adjudicator,
                    blind_read_id=blind.id,
                    label=label,
                    confidence=3 if label else None,
                    severity=Severity.MINOR,
                    note="",
                    opened_at=OPENED,
                    saved_at=_SAVED,
                    supersedes_id=before,
                )
                self.session.add(row)
                self.session.flush()
                before = row.id
        if dice.random() < 0.5:
            for version in range(1, dice.choice((2, 3))):
                self.session.add(
                    tables.SignOff(
                        case_id=case_id,
                        version=version,
                        account_id=self.readers[0],
                        label=dice.choice(_LABELS),
                        note="",
                        why="" if version == 1 else "looked again",
                        saved_at=_SAVED,
                    )
                )
            self.session.flush()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Sessions, Mapping[str, int]]]:
    """One database of readings for all tests here, and those who ask."""
    folder: Path = tmp_path_factory.mktemp("readings")
    with new_database(request, folder, tables=True) as url:
        sessions = open_database(url)
        with sessions.begin() as session:
            rows = Rows(session, 4)
            people = {"reader": rows.readers[0], "other": rows.readers[2]}
            people |= {"adjudicator": rows.adjudicator, "researcher": rows.researcher, "planner": rows.planner}
        yield sessions, people
        sessions.dispose()


WHO = pytest.mark.parametrize("who", ["reader", "researcher"])
_ALL = "all"
FILTERED = pytest.mark.parametrize(
    ("who", "filtered"),
    [
        *(("reader", _ALL), ("reader", "uploaded"), ("reader", "of one magnification"), ("reader", "of one model")),
        *(("other", _ALL), ("adjudicator", _ALL), ("researcher", _ALL), ("researcher", "of one model")),
    ],
)
_KEPT: Mapping[str, Callable[[Reading], bool]] = {
    _ALL: lambda _: True,
    "uploaded": lambda one: not one.demonstration,
    "of one magnification": lambda one: one.magnification == "40X",
    "of one model": lambda one: one.model_version == MODEL.version,
}


def words(table: figures.Table) -> object:
    """Return all that a table shows, and the numbers that its CSV holds."""
    lines = [(line.name, [(cell.text, repr(cell.value), cell.n) for cell in line.cells]) for line in table.lines]
    return table.columns, lines, table.left_out


def counts(matrices: Sequence[figures.Matrix]) -> object:
    return [(each.name, each.rows, each.columns, each.counts, [cell.words for cell in each.cells]) for each in matrices]


def alike(sessions: Sessions, who: int, comparison: ComparedReadings, kept: Callable[[Reading], bool]) -> list[Reading]:
    with sessions.read() as session:
        kinds = store.agreement.alike_readings(session, who, comparison)
    return [one for kind in kinds for one in kind.readings if kept(one)]


def every(sessions: Sessions, who: int, kept: Callable[[Reading], bool] = lambda _: True) -> list[Reading]:
    with sessions.read() as session:
        return [one for one in store.agreement.finished_readings(session, who) if kept(one)]


@FILTERED
def test_counted_readings_give_the_figures_of_all_readings(
    filled: tuple[Sessions, Mapping[str, int]], who: str, filtered: str
) -> None:
    sessions, account, kept = filled[0], filled[1][who], _KEPT[filtered]
    everything = every(sessions, account, kept)
    assert len(everything) > 3
    by_model, by_reader = (
        alike(sessions, account, one, kept) for one in (ComparedReadings.MODEL, ComparedReadings.READERS)
    )
    assert who == "adjudicator" or len(by_model) < len(everything), "some cases are read alike"
    assert words(figures.measure_reader_model(by_model)) == words(figures.measure_reader_model(everything))
    for name, _ in figures.by_reader(everything):
        assert counts(figures.model_matrices(by_model, name)) == counts(figures.model_matrices(everything, name))
    assert words(figures.measure_reader_reader(by_reader)) == words(figures.measure_reader_reader(everything))
    couples = reader_couples(everything)
    assert reader_couples(by_reader) == couples
    for couple in couples:
        assert counts(figures.couple_matrices(by_reader, couple)) == counts(figures.couple_matrices(everything, couple))
    for found in (by_model, by_reader):
        assert count_readings(found) == len(everything)
        assert count_cases(found) == len({one.case_id for one in everything})
        assert count_without_opinion(found) == count_without_opinion(everything)


@WHO
def test_counted_readings_give_the_effect_of_the_reveal_by_either_kind_of_reference(
    filled: tuple[Sessions, Mapping[str, int]], who: str
) -> None:
    sessions, account = filled[0], filled[1][who]
    everything = every(sessions, account)
    with sessions.read() as session:
        adjudicated = store.adjudication.adjudicated_labels(session, account)
        kinds = store.agreement.alike_readings(session, account, ComparedReadings.REVEAL)
    found = [one for kind in kinds for one in kind.readings]
    labels = {kind.readings[0].case_id: kind.reference for kind in kinds if kind.reference}
    assert labels
    expected = {one.case_id: adjudicated.labels[one.case_id] for one in everything if one.case_id in adjudicated.labels}
    assert sum(kind.readings[0].copies for kind in kinds if kind.reference) == len(expected)
    settled = sum(kind.readings[0].copies for kind in kinds if kind.reference and kind.by_consensus)
    assert settled == len(adjudicated.by_consensus & expected.keys())
    assert words(figures.measure_reveal(found, labels)) == words(figures.measure_reveal(everything, expected))
    assert words(figures.measure_reveal(found, {})) == words(figures.measure_reveal(everything, {}))
    given: dict[int, Malignancy] = {one.case_id: _LABELS[one.case_id % 2] or "benign" for one in everything[:40]}
    with sessions.read() as session:
        kinds = store.agreement.alike_readings(session, account, ComparedReadings.REVEAL, given)
    found = [one for kind in kinds for one in kind.readings]
    labels = {kind.readings[0].case_id: kind.reference for kind in kinds if kind.reference}
    assert words(figures.measure_reveal(found, labels)) == words(figures.measure_reveal(everything, given))


@FILTERED
def test_counted_readings_give_the_habits_of_all_readings(
    filled: tuple[Sessions, Mapping[str, int]], who: str, filtered: str
) -> None:
    sessions, account, kept = filled[0], filled[1][who], _KEPT[filtered]
    wanted = {
        "all": ReadingFilter(),
        "uploaded": ReadingFilter(demonstration=False),
        "of one magnification": ReadingFilter(magnifications=("40X",)),
        "of one model": ReadingFilter(model_version=MODEL.version),
    }[filtered]
    everything = every(sessions, account, kept)
    with sessions.read() as session:
        first, final = store.agreement.reading_seconds(session, account, wanted)
    assert first.keys() == {one.reader for one in everything}
    seconds = {name: Seconds(first[name], final.get(name, first[name][:0])) for name in first}
    found = figures.measure_reading_habits(alike(sessions, account, ComparedReadings.HABITS, kept), seconds)
    assert words(found) == words(figures.measure_reading_habits(everything))


@pytest.mark.parametrize("who", ["reader", "other", "adjudicator", "researcher"])
@pytest.mark.parametrize("model", [MODEL, NEWER_MODEL], ids=["older", "newer"])
def test_votes_are_those_of_all_uploaded_readings_of_a_model(
    filled: tuple[Sessions, Mapping[str, int]], who: str, model: ModelIdentity
) -> None:
    sessions, account = filled[0], filled[1][who]
    voted = every(sessions, account, lambda one: not one.demonstration and one.model_version == model.version)
    votes = Counter(one.vote for one in voted)
    with sessions.read() as session:
        found = store.agreement.map_votes(session, account, model.version)
    assert (found.yes, found.no, found.unsure) == (votes["yes"], votes["no"], votes["unsure"])
    assert found.cast == len(voted) - votes[None]
    assert who != "researcher" or min(found.yes, found.no, found.unsure) > 0


@WHO
@pytest.mark.parametrize(
    ("comparison", "labelled"),
    [(ComparedReadings.MODEL, None), (ComparedReadings.REVEAL, None), (ComparedReadings.REVEAL, 30)],
)
def test_the_cases_behind_keys_are_found_page_by_page_group_by_group(
    filled: tuple[Sessions, Mapping[str, int]], who: str, comparison: ComparedReadings, labelled: int | None
) -> None:
    sessions, account = filled[0], filled[1][who]
    given: dict[int, Malignancy] | None = None
    if labelled is not None:
        cases = [one.case_id for one in every(sessions, account)][:labelled]
        given = {case_id: _LABELS[case_id % 2] or "benign" for case_id in cases}
    with sessions.read() as session:
        kinds = store.agreement.alike_readings(session, account, comparison, given)
        groups = [{kind.key for kind in kinds[::2]}, set(), {kind.key for kind in kinds[1::2]}]
        pages: list[ReadCase] = []
        after: ReadCase | None = None
        while True:
            page = store.agreement.cases_behind(
                session, account, comparison, groups, references=given, after=after, size=20
            )
            pages += page.cases
            if page.last is None:
                break
            assert len(page.cases) == 20
            after = page.last
    everything = every(sessions, account)
    label_of = {kind.key: kind.reference for kind in kinds}
    assert given is None or all(label_of[case.key] == given.get(case.case_id) for case in pages)
    assert [case.key in groups[0] for case in pages] == sorted((case.key in groups[0] for case in pages), reverse=True)
    assert sorted(one.case_id for one in pages) == sorted({one.case_id for one in everything})
    by_case: dict[int, list[Reading]] = {}
    for one in everything:
        by_case.setdefault(one.case_id, []).append(one)
    for case in pages:
        assert sorted(case.readings, key=str) == sorted(by_case[case.case_id], key=str)
    if who == "researcher":
        names = [case.readings[0].accession for case in pages if case.key in groups[0]]
        assert names == sorted(names), "the order of the rows would reveal when a case was added"


@WHO
@pytest.mark.parametrize("stage", ["first", "final"])
def test_the_slowest_readings_come_first_page_by_page(
    filled: tuple[Sessions, Mapping[str, int]], who: str, stage: TimedStage
) -> None:
    sessions, account = filled[0], filled[1][who]
    everything = [one for one in every(sessions, account) if stage == "first" or one.final]
    reader = everything[0].reader
    for name in (None, reader):
        found: list[Reading] = []
        after: SlowReading | None = None
        while True:
            with sessions.read() as session:
                page = store.agreement.slowest_readings(
                    session, account, stage, ReadingFilter(reader=name), after=after, size=40
                )
            found += [one.reading for one in page.readings]
            if page.last is None:
                break
            after = page.last
        expected = [one for one in everything if name in (None, one.reader)]
        assert sorted(map(str, found)) == sorted(map(str, expected))
        took = [one.first.seconds if stage == "first" or one.final is None else one.final.seconds for one in found]
        assert took == sorted(took, reverse=True)


def test_only_who_sees_agreement_gets_anything_counted(filled: tuple[Sessions, Mapping[str, int]]) -> None:
    sessions, planner = filled[0], filled[1]["planner"]
    asked: list[Callable[[Session], object]] = [
        lambda session: store.agreement.alike_readings(session, planner, ComparedReadings.MODEL),
        lambda session: store.agreement.cases_behind(session, planner, ComparedReadings.MODEL, [{"x"}]),
        lambda session: store.agreement.reading_seconds(session, planner, ReadingFilter()),
        lambda session: store.agreement.slowest_readings(session, planner, "first", ReadingFilter()),
        lambda session: store.agreement.cases_named(session, planner, {"c"}),
        lambda session: store.agreement.map_votes(session, planner, MODEL.version),
    ]
    for ask in asked:
        with sessions.read() as session, pytest.raises(NotAllowedError):
            ask(session)
