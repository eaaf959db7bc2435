"""What calls for adjudication, which states it gives a case, and who learns of it."""

from dataclasses import replace

from sqlalchemy import select

from db import case_states, models, store
from db.reading_models import Consensus, Study
from db.reading_values import Trigger
from db.session import Sessions
from db.values import CaseState, Opinion
from tests.helpers.stored import OPENED, make_reader
from tests.helpers.wards import BENIGN, MALIGNANT, Ward, consensus, open_ward, sign_off, study_of

UNASSESSED = Opinion(None, None)
NOTHING: tuple[int, ...] = ()  # was seen of the model


def triggers(ward: Ward, case_id: int | None = None) -> tuple[Trigger, ...]:
    """Give the triggers of a case, the first one unless said; it waits for an adjudicator exactly if it has any."""
    case = case_id or ward.cases[0]
    with ward.sessions.read() as session:
        found = case_states.triggers_of(session, select(models.Case.id)).get(case, ())
        assert (case in set(session.scalars(case_states.cases_to_adjudicate()))) is bool(found)
    return found


def settle(ward: Ward, opinion: Opinion, case_id: int | None = None) -> None:
    """Let the adjudicator read a case blind and settle it."""
    case = case_id or ward.cases[0]
    with ward.sessions.begin() as session:
        store.record_first_read(session, case, ward.adjudicator, opinion, OPENED)
    with ward.sessions.begin() as session:
        session.add(consensus(session, case, ward.adjudicator, opinion))


def test_two_readers_and_the_model_call_for_adjudication(sessions: Sessions) -> None:
    said = [
        (MALIGNANT, MALIGNANT, ()),
        (MALIGNANT, UNASSESSED, ()),
        (MALIGNANT, replace(MALIGNANT, confidence=3), ()),
        (MALIGNANT, replace(MALIGNANT, confidence=2), (Trigger.LOW_CONFIDENCE,)),
        (MALIGNANT, BENIGN, (Trigger.READERS_SPLIT, Trigger.MODEL_CONFLICT)),
        (BENIGN, BENIGN, (Trigger.MODEL_CONFLICT,)),
        (UNASSESSED, replace(BENIGN, confidence=1), (Trigger.MODEL_CONFLICT, Trigger.LOW_CONFIDENCE)),
    ]
    ward = open_ward(sessions, cases=len(said))
    for case, (one, other, expected) in zip(ward.cases, said, strict=True):
        ward.read(ward.a, case, one)
        ward.read(ward.b, case, other)
        assert triggers(ward, case) == expected
        state = CaseState.DISCORDANT if expected else CaseState.FINAL
        assert ward.state(ward.a, case) is ward.state(ward.b, case) is state


def test_a_model_that_was_not_seen_contradicts_nobody(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    ward.read(ward.a, ward.cases[0], BENIGN, seen=NOTHING)
    assert triggers(ward) == ()
    assert ward.state(ward.a) is CaseState.FINAL


def test_first_reads_and_reads_that_were_replaced_or_taken_back_call_for_nothing(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    case = ward.cases[0]
    with sessions.begin() as session:
        store.record_first_read(session, case, ward.b, replace(BENIGN, confidence=1), OPENED)
    ward.read(ward.a, case, BENIGN)
    assert triggers(ward) == (Trigger.MODEL_CONFLICT,)
    with sessions.begin() as session:
        store.amend_read(session, case, ward.a, MALIGNANT, OPENED)
    assert triggers(ward) == ()
    with sessions.begin() as session:
        final = store.record_final_read(session, case, ward.b, replace(BENIGN, reason="quality"), OPENED)
    assert triggers(ward) == (Trigger.READERS_SPLIT, Trigger.MODEL_CONFLICT)
    with sessions.begin() as session:
        store.withdraw_read(session, final.id, ward.b)
    assert triggers(ward) == ()
    assert (ward.state(ward.a), ward.state(ward.b)) == (CaseState.FINAL, CaseState.REVEALED)


def test_a_reader_without_a_last_word_learns_nothing_of_what_others_said(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    with sessions.begin() as session:
        fresh, half = make_reader(session, "dr. c"), make_reader(session, "dr. d")
        store.record_first_read(session, ward.cases[0], half, BENIGN, OPENED)

    def seen() -> tuple[CaseState, CaseState]:
        return ward.state(fresh), ward.state(half)

    before = seen()
    assert before == (CaseState.READY, CaseState.REVEALED)
    ward.read(ward.a, ward.cases[0], BENIGN)
    ward.read(ward.b, ward.cases[0], MALIGNANT)
    assert seen() == before
    settle(ward, BENIGN)
    assert seen() == before
    ward.add(sign_off(ward.cases[0], ward.a))
    assert seen() == (CaseState.SIGNED_OUT, CaseState.SIGNED_OUT)
    ward.add(sign_off(ward.cases[0], ward.a, version=2))
    assert seen() == (CaseState.AMENDED, CaseState.AMENDED)
    assert ward.state(ward.a) is CaseState.AMENDED
    with sessions.read() as session:
        assert store.next_case(session, fresh) is None


def test_a_case_goes_through_adjudication_until_it_is_resolved(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    ward.read(ward.a, ward.cases[0], BENIGN)
    ward.read(ward.b, ward.cases[0], MALIGNANT)
    assert ward.state(ward.a) is CaseState.DISCORDANT
    with sessions.begin() as session:
        store.record_first_read(session, ward.cases[0], ward.adjudicator, BENIGN, OPENED)
    assert ward.state(ward.a) is ward.state(ward.b) is CaseState.ADJUDICATION
    assert ward.state(ward.adjudicator) is CaseState.REVEALED
    with sessions.begin() as session:
        store.open_adjudication(session, ward.cases[0], ward.adjudicator)
    assert ward.state(ward.adjudicator) is CaseState.ADJUDICATION
    with sessions.read() as session:
        assert store.next_case(session, ward.adjudicator) is None, "a final read of theirs would be refused"
    with sessions.begin() as session:
        session.add(consensus(session, ward.cases[0], ward.adjudicator, BENIGN))
    assert {ward.state(who) for who in (ward.a, ward.b, ward.adjudicator)} == {CaseState.RESOLVED}


def test_an_adjudicator_who_reads_like_a_reader_begins_no_adjudication(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    ward.read(ward.a, ward.cases[0], BENIGN)
    ward.read(ward.adjudicator, ward.cases[0], MALIGNANT)
    assert ward.state(ward.a) is ward.state(ward.adjudicator) is CaseState.DISCORDANT


def test_only_a_later_read_that_contradicts_it_opens_a_consensus_again(sessions: Sessions) -> None:
    said = [
        (BENIGN, CaseState.RESOLVED),
        (UNASSESSED, CaseState.RESOLVED),
        (replace(BENIGN, confidence=1), CaseState.RESOLVED),
        (MALIGNANT, CaseState.ADJUDICATION),
    ]
    ward = open_ward(sessions, cases=len(said))
    with sessions.begin() as session:
        late = make_reader(session, "dr. late")
    for case, (later, state) in zip(ward.cases, said, strict=True):
        ward.read(ward.a, case, MALIGNANT)
        ward.read(ward.b, case, BENIGN)
        settle(ward, BENIGN, case)
        ward.read(late, case, later)
        assert {ward.state(who, case) for who in (ward.a, ward.b, late)} == {state}


def test_a_consensus_that_was_replaced_does_not_count(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    ward.read(ward.a, ward.cases[0], BENIGN)
    settle(ward, MALIGNANT)
    with sessions.begin() as session:
        store.amend_read(session, ward.cases[0], ward.a, replace(BENIGN, reason="context"), OPENED)
    assert ward.state(ward.a) is CaseState.ADJUDICATION
    with sessions.begin() as session:
        before = session.scalars(select(Consensus)).one()
        after = consensus(session, ward.cases[0], ward.adjudicator, BENIGN)
        after.supersedes_id = before.id
        session.add(after)
    assert ward.state(ward.a) is CaseState.RESOLVED


def test_a_case_of_an_open_study_is_not_in_the_routine_list_of_its_reader(sessions: Sessions) -> None:
    ward = open_ward(sessions, cases=2)
    ward.add(*study_of(ward, ward.a))

    def listed(account_id: int) -> list[int]:
        with sessions.read() as session:
            rows = [row.id for row in store.worklist(session, account_id)]
            assert sum(store.state_counts(session, account_id).values()) == len(rows)
            assert store.next_case(session, account_id) == rows[0]
        return rows

    assert listed(ward.a) == [ward.cases[1]]
    assert listed(ward.b) == list(ward.cases)
    with sessions.begin() as session:
        session.get_one(Study, 1).closed_at = OPENED
    assert listed(ward.a) == list(ward.cases)


def test_reads_of_a_study_call_for_nothing_and_change_no_state(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    ward.add(*study_of(ward, ward.b, closed=True))
    ward.read(ward.a, ward.cases[0], MALIGNANT)
    with sessions.begin() as session:
        session.add(
            models.Read(
                case_id=ward.cases[0],
                account_id=ward.b,
                stage="final",
                label="benign",
                confidence=1,
                note="",
                model_visible=False,
                opened_at=OPENED,
                saved_at=OPENED,
                place_id=1,
            )
        )
    assert triggers(ward) == ()
    assert (ward.state(ward.a), ward.state(ward.b)) == (CaseState.FINAL, CaseState.READY)
