"""Cases on which readers differ are settled by somebody who reads them blind first, and nothing is lost over it."""

import re
from dataclasses import fields, replace

import pytest
from sqlalchemy import select

from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError, InStudyError, NotRevealedError
from db.values.accounts import Role
from db.values.adjudication import Consensus, Ruling, Severity, Trigger, WaitingCase
from db.values.reading import Arm, Opinion, Region, RegionKind
from tests.helpers.concurrency import at_once
from tests.helpers.rows import CANNOT_ASSESS, OPENED, RULING, SAYS_BENIGN, SAYS_MALIGNANT
from tests.helpers.world import World, add_person, make_world


@pytest.fixture
def world(sessions: Sessions) -> World:
    return make_world(sessions, adjudicators=2, can_sign_in=True)


def join_study(world: World, account_id: int, case_id: int) -> int:
    """Put a case into an open study of one reader, and give the place."""
    with world.sessions.begin() as session:
        owner = world.readers[0]
        study = tables.Study(
            name="s", seed=1, washout_days=0, counterbalanced=False, created_by_id=owner, created_at=OPENED
        )
        session.add(study)
        session.flush()
        order = {"round": 1, "iteration": 1, "position": 1}
        place = tables.StudyPlace(
            study_id=study.id, account_id=account_id, case_id=case_id, arm=Arm.BLIND_FIRST, **order
        )
        session.add(place)
        session.flush()
        return place.id


def rows_of(world: World) -> list[tables.Consensus]:
    with world.sessions.read() as session:
        return list(session.scalars(select(tables.Consensus).order_by(tables.Consensus.id)))


def reads_of(world: World) -> list[tuple[object, ...]]:
    with world.sessions.read() as session:
        return list(session.execute(select(tables.Read.__table__).order_by(tables.Read.id)))


@pytest.mark.parametrize(
    ("one", "other", "triggers"),
    [
        (SAYS_MALIGNANT, SAYS_BENIGN, (Trigger.READERS_SPLIT, Trigger.MODEL_CONFLICT)),
        (SAYS_BENIGN, SAYS_BENIGN, (Trigger.MODEL_CONFLICT,)),
        (SAYS_MALIGNANT, replace(SAYS_MALIGNANT, confidence=2), (Trigger.LOW_CONFIDENCE,)),
    ],
)
def test_a_case_waits_for_an_adjudicator_when_somebody_differs_or_is_not_sure(
    world: World, one: Opinion, other: Opinion, triggers: tuple[Trigger, ...]
) -> None:
    world.read(world.readers[0], world.case_id, one)
    world.read(world.readers[1], world.case_id, other)
    assert world.cases_to_adjudicate(world.adjudicators[0]) == ["C-0001"]
    world.read_first(world.adjudicators[0], world.case_id)
    assert world.open_adjudication(world.adjudicators[0]).triggers == triggers


@pytest.mark.parametrize("other", [SAYS_MALIGNANT, replace(SAYS_MALIGNANT, confidence=3), CANNOT_ASSESS])
def test_no_case_waits_when_readers_and_model_agree(world: World, other: Opinion) -> None:
    world.read(world.readers[0], world.case_id, SAYS_MALIGNANT)
    world.read(world.readers[1], world.case_id, other)
    assert world.cases_to_adjudicate(world.adjudicators[0]) == []
    with pytest.raises(CaseChangedError, match="does not need adjudication"):
        world.open_adjudication(world.adjudicators[0])


def test_a_conflict_that_is_amended_away_waits_no_longer(world: World) -> None:
    world.read_differently()
    world.amend(world.readers[1], replace(SAYS_MALIGNANT, note="seen now"))
    assert world.cases_to_adjudicate(world.adjudicators[0]) == []


def test_a_case_does_not_wait_for_who_has_read_it_to_the_end(world: World) -> None:
    world.read_differently()
    world.read(world.adjudicators[0], world.case_id, SAYS_MALIGNANT)
    assert world.cases_to_adjudicate(world.adjudicators[0]) == []
    assert world.cases_to_adjudicate(world.adjudicators[1]) == ["C-0001"]
    with pytest.raises(CaseChangedError, match="you have a final opinion on"):
        world.open_adjudication(world.adjudicators[0])
    with pytest.raises(CaseChangedError, match="you have a final opinion on"):
        world.adjudicate(world.adjudicators[0], seen=())


def test_reads_of_a_study_call_for_nobody(world: World) -> None:
    place = join_study(world, world.readers[1], world.case_id)
    world.read(world.readers[0], world.case_id, SAYS_MALIGNANT)
    with world.sessions.begin() as session:
        for stage, visible in (("first", False), ("final", True)):
            shown = 0.8 if visible else None
            row = {"case_id": world.case_id, "account_id": world.readers[1], "stage": stage, "note": ""}
            said = {"label": "benign", "confidence": 1, "model_visible": visible, "place_id": place}
            times = {"opened_at": OPENED, "saved_at": OPENED, "shown_probability": shown, "shown_threshold": shown}
            session.add(tables.Read(**row, **said, **times))
    assert world.cases_to_adjudicate(world.adjudicators[0]) == []


def test_an_adjudicator_reads_a_case_of_an_open_study_only_there(world: World) -> None:
    world.read_differently()
    join_study(world, world.adjudicators[0], world.case_id)
    assert world.cases_to_adjudicate(world.adjudicators[0]) == []
    assert world.cases_to_adjudicate(world.adjudicators[1]) == ["C-0001"]
    with pytest.raises(InStudyError):
        world.open_adjudication(world.adjudicators[0])


def test_the_list_says_nothing_of_what_anybody_thinks(world: World, sessions: Sessions) -> None:
    world.read_differently()
    with sessions.read() as session:
        (case,) = store.adjudication.cases_to_adjudicate(session, world.adjudicators[0]).rows
    assert (case.id, case.accession, case.magnification, case.images, case.begun) == (1, "C-0001", "100X", 1, False)
    assert {field.name for field in fields(WaitingCase)} == {
        "id", "accession", "magnification", "images", "since", "demonstration", "begun",
    }  # fmt: skip
    world.read_first(world.adjudicators[0], world.case_id)
    with sessions.read() as session:
        assert store.adjudication.cases_to_adjudicate(session, world.adjudicators[0]).rows[0].begun


def test_before_the_blind_read_there_is_nothing_but_tissue(world: World) -> None:
    world.read_differently()
    seen = world.open_adjudication(world.adjudicators[0])
    assert (seen.blind, seen.triggers, seen.reads, seen.consensus, seen.case.reveal) == (None, (), (), None, None)
    found = re.sub(r"datetime\([^)]*\)", "", repr(replace(seen, case=replace(seen.case, accession=""))))
    assert not [word for word in ("benign", "malignant", "dr. ", "atypia", "0.8") if word in found]
    assert "opinions of others shown" not in world.audited_actions()
    with pytest.raises(NotRevealedError, match="save your own opinion first"):
        world.adjudicate(world.adjudicators[0], seen=())


def test_after_the_blind_read_the_others_are_shown_without_names(world: World) -> None:
    reads = world.read_differently()
    blind = world.read_first(world.adjudicators[0], world.case_id)
    seen = world.open_adjudication(world.adjudicators[0])
    assert seen.blind == blind
    assert seen.case.reveal is not None
    assert [read.name for read in seen.reads] == ["Reader A", "Reader B"]
    by_id = {read.read_id: read for read in seen.reads}
    assert {read_id: read.final for read_id, read in by_id.items()} == {read.id: read.opinion for read in reads}
    assert {read.model for read in seen.reads} == {"malignant"}
    assert by_id[reads[1].id].first == replace(SAYS_BENIGN, reason=None)
    assert "dr. " not in repr(seen.reads)
    assert seen.reads == world.open_adjudication(world.adjudicators[0]).reads
    assert world.audited_actions().count("opinions of others shown") == 1


def test_what_the_readers_marked_is_shown_with_what_they_said(world: World) -> None:
    region = Region(1, RegionKind.BOX, ((10.0, 20.0), (40.0, 60.0)), "the nest")
    world.read(world.readers[0], world.case_id, SAYS_MALIGNANT)
    marked = world.read(world.readers[1], world.case_id, replace(SAYS_BENIGN, regions=(region,)))
    world.read_first(world.adjudicators[0], world.case_id)
    shown = {read.read_id: read.final.regions for read in world.open_adjudication(world.adjudicators[0]).reads}
    assert shown[marked.id] == (region,)
    assert sorted(map(len, shown.values())) == [0, 1]


def test_the_letters_follow_neither_the_accounts_nor_the_order_of_reading(sessions: Sessions) -> None:
    world = make_world(sessions, readers=8, cases=2)
    read_in_order = [world.readers[place] for place in (5, 0, 7, 2, 6, 1, 4, 3)]
    orders = []
    for case_id in world.cases:
        readers = {
            world.read(reader, case_id, opinion).id: reader
            for reader, opinion in zip(read_in_order, [SAYS_MALIGNANT, SAYS_BENIGN] * 4, strict=True)
        }
        world.read_first(world.adjudicators[0], case_id)
        seen = replace(world, cases=(case_id,)).open_adjudication(world.adjudicators[0])
        orders.append([readers[read.read_id] for read in seen.reads])
    assert all(sorted(order) == sorted(world.readers) for order in orders)
    # By chance, both cases follow one of these orders once in 400 million runs.
    for told in (list(world.readers), read_in_order):
        assert any(order != told for order in orders)
        assert any(order != told[::-1] for order in orders)


def test_who_has_seen_the_others_gives_no_final_opinion_of_their_own(world: World) -> None:
    world.read_differently()
    world.read_first(world.adjudicators[0], world.case_id)
    world.open_adjudication(world.adjudicators[0])
    with world.sessions.begin() as session, pytest.raises(CaseChangedError, match="settle it under Adjudication"):
        store.reads.record_final_read(session, world.case_id, world.adjudicators[0], SAYS_MALIGNANT, OPENED)


def test_a_consensus_is_a_row_of_its_own_with_all_that_was_shown(world: World) -> None:
    first, second = world.read_differently()
    blind = world.read_first(world.adjudicators[0], world.case_id, CANNOT_ASSESS)
    before = reads_of(world)
    saved = world.adjudicate(world.adjudicators[0])
    assert (saved.label, saved.confidence, saved.severity, saved.subtype) == (
        "malignant", 5, Severity.MAJOR, "ductal_carcinoma",
    )  # fmt: skip
    assert (saved.adjudicator, saved.note, saved.opened_at) == ("dr. j", "invasive at the left edge", OPENED)
    (row,) = rows_of(world)
    assert (row.blind_read_id, row.supersedes_id) == (blind.id, None)
    with world.sessions.read() as session:
        shown = set(
            session.scalars(select(tables.ConsensusRead.read_id).where(tables.ConsensusRead.consensus_id == row.id))
        )
        event = session.scalars(select(tables.AuditEvent).where(tables.AuditEvent.action == "consensus saved")).one()
    assert shown == {first.id, second.id}
    assert event.content_of == f"consensus {row.id}"
    assert reads_of(world) == before, "the reads stay as they are"
    assert world.cases_to_adjudicate(world.adjudicators[0]) == world.cases_to_adjudicate(world.adjudicators[1]) == []
    settled = world.open_adjudication(world.adjudicators[0])
    assert (settled.waits, settled.consensus) == (False, saved)


def test_a_double_click_gives_one_consensus(world: World) -> None:
    world.read_differently()
    world.read_first(world.adjudicators[0], world.case_id)
    assert world.adjudicate(world.adjudicators[0]) == world.adjudicate(world.adjudicators[0])
    assert len(rows_of(world)) == 1
    with pytest.raises(CaseChangedError, match=r"you have already settled C-0001 \(malignant, "):
        world.adjudicate(world.adjudicators[0], replace(RULING, severity=Severity.MINOR))


def test_two_adjudicators_at_once_give_one_consensus(world: World) -> None:
    world.read_differently()
    for adjudicator in world.adjudicators:
        world.read_first(adjudicator, world.case_id)
    seen = tuple(read.read_id for read in world.open_adjudication(world.adjudicators[0]).reads)
    world.open_adjudication(world.adjudicators[1])
    rulings = (RULING, Ruling("benign", 3, Severity.NONE))
    said = at_once(6, lambda n: world.adjudicate(world.adjudicators[n % 2], rulings[n % 2], seen))
    assert {type(one) for one in said} == {Consensus, CaseChangedError}
    refused = next(one for one in said if isinstance(one, CaseChangedError))
    assert "another adjudicator has already settled C-0001" in str(refused)
    assert len(rows_of(world)) == 1
    assert world.open_adjudication(world.adjudicators[1]).consensus is not None


def test_a_read_that_changed_meanwhile_is_looked_at_again(world: World) -> None:
    first, second = world.read_differently()
    world.read_first(world.adjudicators[0], world.case_id)
    amended = world.amend(world.readers[1], replace(SAYS_BENIGN, confidence=5))
    with pytest.raises(CaseChangedError, match="has since changed an opinion"):
        world.adjudicate(world.adjudicators[0], seen=(first.id, second.id))
    world.adjudicate(world.adjudicators[0], seen=(amended.id, first.id))


def test_readers_who_agree_meanwhile_leave_nothing_to_settle(world: World) -> None:
    first, second = world.read_differently()
    world.read_first(world.adjudicators[0], world.case_id)
    world.amend(world.readers[1], replace(SAYS_MALIGNANT, note="seen now"))
    with pytest.raises(CaseChangedError, match="its readers now agree"):
        world.adjudicate(world.adjudicators[0], seen=(first.id, second.id))


def test_a_later_read_that_contradicts_the_consensus_opens_the_case_again(world: World) -> None:
    world.read_differently()
    world.read_first(world.adjudicators[0], world.case_id)
    first = world.adjudicate(world.adjudicators[0])
    with world.sessions.begin() as session:
        third = add_person(session, "dr. third", Role.READER)
    world.read(third, world.case_id, SAYS_BENIGN)
    assert world.cases_to_adjudicate(world.adjudicators[1]) == ["C-0001"]
    world.read_first(world.adjudicators[1], world.case_id)
    assert len(world.open_adjudication(world.adjudicators[1]).reads) == 3
    second = world.adjudicate(world.adjudicators[1], Ruling("benign", 4, Severity.MINOR))
    assert second.supersedes == first.id
    assert [row.label for row in rows_of(world)] == ["malignant", "benign"]
    assert world.open_adjudication(world.adjudicators[0]).consensus == second


def test_a_later_read_that_says_the_same_leaves_it_settled(world: World) -> None:
    world.read_differently()
    world.read_first(world.adjudicators[0], world.case_id)
    world.adjudicate(world.adjudicators[0])
    with world.sessions.begin() as session:
        third = add_person(session, "dr. third", Role.READER)
    world.read(third, world.case_id, replace(SAYS_MALIGNANT, confidence=1))
    assert world.cases_to_adjudicate(world.adjudicators[1]) == []


def test_a_consensus_follows_the_rules_of_an_opinion() -> None:
    with pytest.raises(ValueError, match="an opinion needs a confidence"):
        Ruling("benign", None, Severity.NONE)
    with pytest.raises(ValueError, match="confidence must be 1 to 5"):
        Ruling("benign", 6, Severity.NONE)
    assert Ruling(None, None, Severity.NONE).label is None


def test_a_reader_reads_on_as_long_as_the_case_is_not_signed(world: World) -> None:
    world.read_differently()
    world.read_first(world.adjudicators[0], world.case_id)
    world.adjudicate(world.adjudicators[0])
    assert world.amend(world.readers[1], replace(SAYS_MALIGNANT, note="convinced")).opinion.label == "malignant"


def test_the_list_comes_page_by_page_and_goes_on_after_a_case(sessions: Sessions) -> None:
    world = make_world(sessions, cases=4)
    for case_id in (3, 1, 4):
        for reader, said in zip(world.readers, (SAYS_MALIGNANT, SAYS_BENIGN), strict=True):
            world.read(reader, world.cases[case_id - 1], said)
    expected = [world.cases[place] for place in (2, 0, 3)]

    def listed(after: int | None, size: int) -> tuple[list[int], int, bool]:
        with sessions.read() as session:
            page = store.adjudication.cases_to_adjudicate(session, world.adjudicator, after=after, size=size)
        return [case.id for case in page.rows], page.total, page.more

    assert listed(None, 2) == (expected[:2], 3, True)
    assert listed(expected[1], 2) == (expected[2:], 3, False)
    assert listed(expected[2], 2) == ([], 3, False)
    assert listed(world.cases[1], 1) == (expected[:1], 3, True), "it does not wait"
