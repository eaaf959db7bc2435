"""Cases on which readers differ are settled by somebody who reads them blind first, and nothing is lost over it."""

import re
from dataclasses import fields, replace

import pytest
from sqlalchemy import insert, select

from db import models, store
from db.adjudication_values import Ruling, WaitingCase
from db.errors import CaseChangedError, InStudyError, NotRevealedError
from db.reading_models import Consensus as ConsensusRow
from db.reading_models import ConsensusRead, Study, StudyPlace
from db.reading_values import Arm, Consensus, Region, RegionKind, Severity, Trigger
from db.session import Sessions
from db.values import Opinion, Role
from tests.helpers.discordant import CANNOT_ASSESS, RULING, SAYS_BENIGN, SAYS_MALIGNANT, Bench, add_person, make_bench
from tests.helpers.stored import OPENED, analyse_all, at_once, stored_image


@pytest.fixture
def bench(sessions: Sessions) -> Bench:
    return make_bench(sessions)


def join_study(bench: Bench, account_id: int, case_id: int) -> int:
    """Put a case into an open study of one reader, and give the place."""
    with bench.sessions.begin() as session:
        owner = bench.readers[0]
        study = Study(name="s", seed=1, washout_days=0, counterbalanced=False, created_by_id=owner, created_at=OPENED)
        session.add(study)
        session.flush()
        order = {"round": 1, "iteration": 1, "position": 1}
        place = StudyPlace(study_id=study.id, account_id=account_id, case_id=case_id, arm=Arm.BLIND_FIRST, **order)
        session.add(place)
        session.flush()
        return place.id


def rows_of(bench: Bench) -> list[ConsensusRow]:
    with bench.sessions.read() as session:
        return list(session.scalars(select(ConsensusRow).order_by(ConsensusRow.id)))


def reads_of(bench: Bench) -> list[tuple[object, ...]]:
    with bench.sessions.read() as session:
        return list(session.execute(select(models.Read.__table__).order_by(models.Read.id)))


@pytest.mark.parametrize(
    ("one", "other", "triggers"),
    [
        (SAYS_MALIGNANT, SAYS_BENIGN, (Trigger.READERS_SPLIT, Trigger.MODEL_CONFLICT)),
        (SAYS_BENIGN, SAYS_BENIGN, (Trigger.MODEL_CONFLICT,)),
        (SAYS_MALIGNANT, replace(SAYS_MALIGNANT, confidence=2), (Trigger.LOW_CONFIDENCE,)),
    ],
)
def test_a_case_waits_for_an_adjudicator_when_somebody_differs_or_is_not_sure(
    bench: Bench, one: Opinion, other: Opinion, triggers: tuple[Trigger, ...]
) -> None:
    bench.read(bench.readers[0], one)
    bench.read(bench.readers[1], other)
    assert bench.waiting(bench.adjudicators[0]) == ["C-0001"]
    bench.blind(bench.adjudicators[0])
    assert bench.open(bench.adjudicators[0]).triggers == triggers


@pytest.mark.parametrize("other", [SAYS_MALIGNANT, replace(SAYS_MALIGNANT, confidence=3), CANNOT_ASSESS])
def test_no_case_waits_when_readers_and_model_agree(bench: Bench, other: Opinion) -> None:
    bench.read(bench.readers[0], SAYS_MALIGNANT)
    bench.read(bench.readers[1], other)
    assert bench.waiting(bench.adjudicators[0]) == []
    with pytest.raises(CaseChangedError, match="waits for no adjudicator"):
        bench.open(bench.adjudicators[0])


def test_a_conflict_that_is_amended_away_waits_no_longer(bench: Bench) -> None:
    bench.differ()
    bench.amend(bench.readers[1], replace(SAYS_MALIGNANT, note="seen now"))
    assert bench.waiting(bench.adjudicators[0]) == []


def test_a_case_does_not_wait_for_who_has_read_it_to_the_end(bench: Bench) -> None:
    bench.differ()
    bench.read(bench.adjudicators[0], SAYS_MALIGNANT)
    assert bench.waiting(bench.adjudicators[0]) == []
    assert bench.waiting(bench.adjudicators[1]) == ["C-0001"]
    with pytest.raises(CaseChangedError, match="to the end yourself"):
        bench.open(bench.adjudicators[0])
    with pytest.raises(CaseChangedError, match="to the end yourself"):
        bench.settle(bench.adjudicators[0], seen=())


def test_reads_of_a_study_call_for_nobody(bench: Bench) -> None:
    place = join_study(bench, bench.readers[1], bench.case_id)
    bench.read(bench.readers[0], SAYS_MALIGNANT)
    with bench.sessions.begin() as session:
        for stage, visible in (("first", False), ("final", True)):
            shown = 0.8 if visible else None
            row = {"case_id": bench.case_id, "account_id": bench.readers[1], "stage": stage, "note": ""}
            said = {"label": "benign", "confidence": 1, "model_visible": visible, "place_id": place}
            times = {"opened_at": OPENED, "saved_at": OPENED, "shown_probability": shown, "shown_threshold": shown}
            session.execute(insert(models.Read).values(row | said | times))
    assert bench.waiting(bench.adjudicators[0]) == []


def test_an_adjudicator_reads_a_case_of_an_open_study_only_there(bench: Bench) -> None:
    bench.differ()
    join_study(bench, bench.adjudicators[0], bench.case_id)
    assert bench.waiting(bench.adjudicators[0]) == []
    assert bench.waiting(bench.adjudicators[1]) == ["C-0001"]
    with pytest.raises(InStudyError):
        bench.open(bench.adjudicators[0])


def test_the_list_says_nothing_of_what_anybody_thinks(bench: Bench, sessions: Sessions) -> None:
    bench.differ()
    with sessions.read() as session:
        (case,) = store.cases_to_adjudicate(session, bench.adjudicators[0])
    assert (case.id, case.accession, case.magnification, case.images, case.begun) == (1, "C-0001", "100X", 1, False)
    assert {field.name for field in fields(WaitingCase)} == {
        "id", "accession", "magnification", "images", "since", "demonstration", "begun",
    }  # fmt: skip
    bench.blind(bench.adjudicators[0])
    with sessions.read() as session:
        assert store.cases_to_adjudicate(session, bench.adjudicators[0])[0].begun


def test_before_the_blind_read_there_is_nothing_but_tissue(bench: Bench) -> None:
    bench.differ()
    seen = bench.open(bench.adjudicators[0])
    assert (seen.blind, seen.triggers, seen.reads, seen.consensus, seen.case.reveal) == (None, (), (), None, None)
    found = re.sub(r"datetime\([^)]*\)", "", repr(replace(seen, case=replace(seen.case, accession=""))))
    assert not [word for word in ("benign", "malignant", "dr. reader", "atypia", "0.8") if word in found]
    assert "opinions of others shown" not in bench.actions()
    with pytest.raises(NotRevealedError, match="read the case yourself"):
        bench.settle(bench.adjudicators[0], seen=())


def test_after_the_blind_read_the_others_are_shown_without_names(bench: Bench) -> None:
    reads = bench.differ()
    blind = bench.blind(bench.adjudicators[0])
    seen = bench.open(bench.adjudicators[0])
    assert seen.blind == blind
    assert seen.case.reveal is not None
    assert [read.name for read in seen.reads] == ["Reader A", "Reader B"]
    by_id = {read.read_id: read for read in seen.reads}
    assert {read_id: read.final for read_id, read in by_id.items()} == {read.id: read.opinion for read in reads}
    assert {read.model for read in seen.reads} == {"malignant"}
    assert by_id[reads[1].id].first == replace(SAYS_BENIGN, reason=None)
    assert "dr. reader" not in repr(seen.reads)
    assert seen.reads == bench.open(bench.adjudicators[0]).reads
    assert bench.actions().count("opinions of others shown") == 1


def test_what_the_readers_marked_is_shown_with_what_they_said(bench: Bench) -> None:
    region = Region(1, RegionKind.BOX, ((10.0, 20.0), (40.0, 60.0)), "the nest")
    bench.read(bench.readers[0], SAYS_MALIGNANT)
    marked = bench.read(bench.readers[1], replace(SAYS_BENIGN, regions=(region,)))
    bench.blind(bench.adjudicators[0])
    shown = {read.read_id: read.final.regions for read in bench.open(bench.adjudicators[0]).reads}
    assert shown[marked.id] == (region,)
    assert sorted(map(len, shown.values())) == [0, 1]


def test_the_letters_follow_neither_the_accounts_nor_the_order_of_reading(sessions: Sessions) -> None:
    orders = set()
    bench = make_bench(sessions)
    for _ in range(8):
        first, _ = bench.differ()
        bench.blind(bench.adjudicators[0])
        orders.add(bench.open(bench.adjudicators[0]).reads[0].read_id == first.id)
        with sessions.begin() as session:
            case_id = store.add_case(session, bench.readers[0], accession=None, magnification=None)
            store.add_image(session, case_id, stored_image(f"case {case_id}"))
        bench = replace(bench, case_id=case_id)
        analyse_all(sessions)
    assert orders == {True, False}


def test_who_has_seen_the_others_gives_no_final_opinion_of_their_own(bench: Bench) -> None:
    bench.differ()
    bench.blind(bench.adjudicators[0])
    bench.open(bench.adjudicators[0])
    with bench.sessions.begin() as session, pytest.raises(CaseChangedError, match="settle it under Adjudication"):
        store.record_final_read(session, bench.case_id, bench.adjudicators[0], SAYS_MALIGNANT, OPENED)


def test_a_consensus_is_a_row_of_its_own_with_all_that_was_shown(bench: Bench) -> None:
    first, second = bench.differ()
    blind = bench.blind(bench.adjudicators[0], CANNOT_ASSESS)
    before = reads_of(bench)
    saved = bench.settle(bench.adjudicators[0])
    assert (saved.label, saved.confidence, saved.severity, saved.subtype) == (
        "malignant", 5, Severity.MAJOR, "ductal_carcinoma",
    )  # fmt: skip
    assert (saved.adjudicator, saved.note, saved.opened_at) == ("prof. c", "invasive at the left edge", OPENED)
    (row,) = rows_of(bench)
    assert (row.blind_read_id, row.supersedes_id) == (blind.id, None)
    with bench.sessions.read() as session:
        shown = set(session.scalars(select(ConsensusRead.read_id).where(ConsensusRead.consensus_id == row.id)))
        event = session.scalars(select(models.AuditEvent).where(models.AuditEvent.action == "consensus saved")).one()
    assert shown == {first.id, second.id}
    assert event.content_of == f"consensus {row.id}"
    assert reads_of(bench) == before, "the reads stay as they are"
    assert bench.waiting(bench.adjudicators[0]) == bench.waiting(bench.adjudicators[1]) == []
    settled = bench.open(bench.adjudicators[0])
    assert (settled.waits, settled.consensus) == (False, saved)


def test_a_double_click_gives_one_consensus(bench: Bench) -> None:
    bench.differ()
    bench.blind(bench.adjudicators[0])
    assert bench.settle(bench.adjudicators[0]) == bench.settle(bench.adjudicators[0])
    assert len(rows_of(bench)) == 1
    with pytest.raises(CaseChangedError, match=r"you have settled C-0001 already \(malignant, "):
        bench.settle(bench.adjudicators[0], replace(RULING, severity=Severity.MINOR))


def test_two_adjudicators_at_once_give_one_consensus(bench: Bench) -> None:
    bench.differ()
    for adjudicator in bench.adjudicators:
        bench.blind(adjudicator)
    seen = tuple(read.read_id for read in bench.open(bench.adjudicators[0]).reads)
    bench.open(bench.adjudicators[1])
    rulings = (RULING, Ruling("benign", 3, Severity.NONE))
    said = at_once(6, lambda n: bench.settle(bench.adjudicators[n % 2], rulings[n % 2], seen))
    assert {type(one) for one in said} == {Consensus, CaseChangedError}
    refused = next(one for one in said if isinstance(one, CaseChangedError))
    assert "another adjudicator has settled C-0001 already" in str(refused)
    assert len(rows_of(bench)) == 1
    assert bench.open(bench.adjudicators[1]).consensus is not None


def test_a_read_that_changed_meanwhile_is_looked_at_again(bench: Bench) -> None:
    first, second = bench.differ()
    bench.blind(bench.adjudicators[0])
    amended = bench.amend(bench.readers[1], replace(SAYS_BENIGN, confidence=5))
    with pytest.raises(CaseChangedError, match="said something else meanwhile"):
        bench.settle(bench.adjudicators[0], seen=(first.id, second.id))
    bench.settle(bench.adjudicators[0], seen=(amended.id, first.id))


def test_readers_who_agree_meanwhile_leave_nothing_to_settle(bench: Bench) -> None:
    first, second = bench.differ()
    bench.blind(bench.adjudicators[0])
    bench.amend(bench.readers[1], replace(SAYS_MALIGNANT, note="seen now"))
    with pytest.raises(CaseChangedError, match="its readers agree now"):
        bench.settle(bench.adjudicators[0], seen=(first.id, second.id))


def test_a_later_read_that_contradicts_the_consensus_opens_the_case_again(bench: Bench) -> None:
    bench.differ()
    bench.blind(bench.adjudicators[0])
    first = bench.settle(bench.adjudicators[0])
    with bench.sessions.begin() as session:
        third = add_person(session, "dr. third", Role.READER)
    bench.read(third, SAYS_BENIGN)
    assert bench.waiting(bench.adjudicators[1]) == ["C-0001"]
    bench.blind(bench.adjudicators[1])
    assert len(bench.open(bench.adjudicators[1]).reads) == 3
    second = bench.settle(bench.adjudicators[1], Ruling("benign", 4, Severity.MINOR))
    assert second.supersedes == first.id
    assert [row.label for row in rows_of(bench)] == ["malignant", "benign"]
    assert bench.open(bench.adjudicators[0]).consensus == second


def test_a_later_read_that_says_the_same_leaves_it_settled(bench: Bench) -> None:
    bench.differ()
    bench.blind(bench.adjudicators[0])
    bench.settle(bench.adjudicators[0])
    with bench.sessions.begin() as session:
        third = add_person(session, "dr. third", Role.READER)
    bench.read(third, replace(SAYS_MALIGNANT, confidence=1))
    assert bench.waiting(bench.adjudicators[1]) == []


def test_a_consensus_follows_the_rules_of_an_opinion() -> None:
    with pytest.raises(ValueError, match="a label needs a confidence"):
        Ruling("benign", None, Severity.NONE)
    with pytest.raises(ValueError, match="confidence is 1 to 5"):
        Ruling("benign", 6, Severity.NONE)
    assert Ruling(None, None, Severity.NONE).label is None


def test_a_reader_reads_on_as_long_as_the_case_is_not_signed(bench: Bench) -> None:
    bench.differ()
    bench.blind(bench.adjudicators[0])
    bench.settle(bench.adjudicators[0])
    assert bench.amend(bench.readers[1], replace(SAYS_MALIGNANT, note="convinced")).opinion.label == "malignant"
