"""A case is signed off once and locked by it; what is signed later is another version, and all of them stay."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError, InStudyError, NotRevealedError
from db.values.accounts import Lifetime, Role
from db.values.adjudication import Amendment, ProposedSignOff, SignOff, SignOffView, Trigger
from db.values.audit import EventFilter
from db.values.reading import Opinion, Read
from tests.db.test_adjudication import join_study
from tests.helpers.concurrency import at_once
from tests.helpers.rows import CANNOT_ASSESS, OPENED, SAYS_BENIGN, SAYS_MALIGNANT
from tests.helpers.world import PASSWORD, World, add_person, make_world, revealed_case

AMENDED = Amendment("benign", "adenosis", "second block", why="immunohistochemistry came back")


@pytest.fixture
def world(sessions: Sessions) -> World:
    return make_world(sessions, adjudicators=2, can_sign_in=True)


@pytest.fixture
def agreed(world: World) -> World:
    """Two readers who agree with each other and the model."""
    for reader in world.readers:
        world.read(reader, world.case_id, SAYS_MALIGNANT)
    return world


@pytest.fixture
def settled(world: World) -> World:
    """A case on which the readers differed, and the first adjudicator settled it."""
    world.read_differently()
    world.read_first(world.adjudicators[0], world.case_id)
    world.adjudicate(world.adjudicators[0])
    return world


def labels(session_of: World, account_id: int) -> tuple[dict[int, str], frozenset[int]]:
    session_of.end_undo(account_id)
    with session_of.sessions.read() as session:
        found = store.adjudication.adjudicated_labels(session, account_id)
    return dict(found.labels), found.by_consensus


def test_a_reader_signs_what_all_readers_say(agreed: World) -> None:
    assert agreed.view_sign_off(agreed.readers[0]).proposed == ProposedSignOff(
        "malignant", "ductal_carcinoma", None, readers=2
    )
    signed = agreed.sign_off(agreed.readers[0], note="as discussed")
    assert (signed.version, signed.label, signed.subtype, signed.note, signed.why) == (
        1, "malignant", "ductal_carcinoma", "as discussed", "",
    )  # fmt: skip
    assert (signed.signer, signed.consensus_id) == ("dr. a", None)
    view = agreed.view_sign_off(agreed.readers[1])
    assert (view.signed_at, view.versions, view.proposed) == (signed.saved_at, (signed,), None)
    with agreed.sessions.read() as session:
        event = session.scalars(select(tables.AuditEvent).where(tables.AuditEvent.action == "signed off")).one()
    assert (event.subject, event.content_of) == ("C-0001", f"sign_offs {signed.id}")


def test_the_audit_trail_tells_a_case_signed_off_from_a_person_signed_out(agreed: World) -> None:
    agreed.sign_off(agreed.readers[0])
    with agreed.sessions.begin() as session:
        store.accounts.set_password(session, None, "dr. a", PASSWORD)
        recognised = store.accounts.account_with_password(session, "dr. a", PASSWORD)
        assert recognised
        secret = store.sign_ins.start_sign_in(session, recognised, Lifetime())
        assert secret
        store.sign_ins.end_sign_in(session, secret)
    with agreed.sessions.read() as session:
        cases = list(store.audit.all_events(session, None, EventFilter(action="signed off")))
        people = list(store.audit.all_events(session, None, EventFilter(action="signed out")))
    # The words of databases that are in use: old events and new ones are found by the same filter.
    assert [event.subject for event in cases] == ["C-0001"]
    assert [event.subject for event in people] == ["dr. a"]


@pytest.mark.parametrize(
    ("one", "other", "label", "subtype"),
    [
        (SAYS_MALIGNANT, CANNOT_ASSESS, "malignant", "ductal_carcinoma"),
        (CANNOT_ASSESS, CANNOT_ASSESS, None, None),
        (SAYS_MALIGNANT, replace(SAYS_MALIGNANT, subtype="lobular_carcinoma"), "malignant", None),
        (SAYS_MALIGNANT, replace(SAYS_MALIGNANT, subtype=None), "malignant", "ductal_carcinoma"),
    ],
)
def test_what_is_signed_is_what_nobody_contradicts(
    world: World, one: Opinion, other: Opinion, label: str | None, subtype: str | None
) -> None:
    world.read(world.readers[0], world.case_id, one)
    world.read(world.readers[1], world.case_id, other)
    signed = world.sign_off(world.readers[0])
    assert (signed.label, signed.subtype) == (label, subtype)


def test_the_adjudicator_or_a_reader_signs_the_consensus(settled: World) -> None:
    proposed = settled.view_sign_off(settled.adjudicators[0]).proposed
    assert proposed is not None
    assert (proposed.label, proposed.consensus_id) == ("malignant", 1)
    assert settled.view_sign_off(settled.readers[1]).proposed == proposed
    signed = settled.sign_off(settled.adjudicators[0])
    assert (signed.label, signed.consensus_id, signed.signer) == ("malignant", 1, "dr. j")


def test_who_has_not_read_the_case_to_the_end_signs_nothing_and_sees_only_when(agreed: World) -> None:
    stranger = agreed.adjudicators[1]
    agreed.read_first(stranger, agreed.case_id)
    assert agreed.view_sign_off(stranger) == SignOffView(None)
    proposed = agreed.view_sign_off(agreed.readers[0]).proposed
    with pytest.raises(NotRevealedError, match="Only a reader who has finished this case"):
        agreed.sign_off(stranger, proposed)
    signed = agreed.sign_off(agreed.readers[0])
    assert agreed.view_sign_off(stranger) == SignOffView(signed.saved_at)
    with pytest.raises(NotRevealedError, match="Only a reader who has finished this case"):
        agreed.amend_sign_off(stranger, AMENDED)


def test_a_case_that_waits_for_adjudication_is_not_signed(world: World) -> None:
    world.read_differently()
    view = world.view_sign_off(world.readers[0])
    assert view.proposed is None
    assert view.triggers == (Trigger.READERS_SPLIT, Trigger.MODEL_CONFLICT)
    with pytest.raises(CaseChangedError, match="needs adjudication first: readers differ, a reader and the model"):
        world.sign_off(world.readers[0], ProposedSignOff("malignant", "ductal_carcinoma", None, 2))


def test_a_consensus_that_was_contradicted_is_not_signed(settled: World) -> None:
    settled.amend(settled.readers[1], replace(SAYS_BENIGN, confidence=5))
    assert settled.view_sign_off(settled.readers[0]).proposed is None
    with pytest.raises(CaseChangedError, match="needs adjudication first"):
        settled.sign_off(settled.readers[0], ProposedSignOff("malignant", "ductal_carcinoma", 1, 2))


def test_what_changed_since_it_was_shown_is_not_signed(agreed: World) -> None:
    proposed = agreed.view_sign_off(agreed.readers[0]).proposed
    agreed.amend(agreed.readers[1], replace(SAYS_MALIGNANT, subtype="lobular_carcinoma"))
    with pytest.raises(CaseChangedError, match="check what you are about to sign off"):
        agreed.sign_off(agreed.readers[0], proposed)


def test_a_signed_case_takes_no_read_and_no_consensus_any_more(settled: World) -> None:
    settled.read_first(settled.adjudicators[1], settled.case_id)
    settled.sign_off(settled.readers[0])
    with pytest.raises(CaseChangedError, match="no further opinions can be saved"):
        settled.amend(settled.readers[1], replace(SAYS_BENIGN, confidence=5))
    with settled.sessions.begin() as session:
        late = add_person(session, "late", Role.READER)
    with pytest.raises(CaseChangedError, match="no further opinions can be saved"):
        settled.read(late, settled.case_id, SAYS_MALIGNANT)
    with pytest.raises(CaseChangedError, match="already settled C-0001"):
        settled.adjudicate(settled.adjudicators[1])


def test_a_double_click_signs_once(agreed: World) -> None:
    proposed = agreed.view_sign_off(agreed.readers[0]).proposed
    said = at_once(6, lambda _: agreed.sign_off(agreed.readers[0], proposed))
    assert len(set(said)) == 1
    assert len(agreed.view_sign_off(agreed.readers[0]).versions) == 1
    with pytest.raises(CaseChangedError, match=r"was signed off by dr\. a"):
        agreed.sign_off(agreed.readers[1], proposed)
    with pytest.raises(CaseChangedError, match="was signed off by"):
        agreed.sign_off(agreed.readers[0], proposed, note="another note")


def test_a_sign_off_and_a_late_read_at_once_never_contradict_each_other(agreed: World) -> None:
    proposed = agreed.view_sign_off(agreed.readers[0]).proposed
    late = replace(SAYS_BENIGN, note="changed my mind")
    acts = (lambda: agreed.sign_off(agreed.readers[0], proposed), lambda: agreed.amend(agreed.readers[1], late))
    said = at_once(2, lambda n: acts[n]())
    view = agreed.view_sign_off(agreed.readers[0])
    if isinstance(said[0], SignOff):
        assert isinstance(said[1], CaseChangedError)
        assert view.versions == (said[0],)
    else:
        assert isinstance(said[0], CaseChangedError)
        assert isinstance(said[1], Read)
        assert (view.versions, bool(view.triggers)) == ((), True)


def test_an_amendment_is_a_new_version_with_who_when_and_why(agreed: World) -> None:
    first = agreed.sign_off(agreed.readers[0])
    second = agreed.amend_sign_off(agreed.readers[1], AMENDED)
    assert (second.version, second.signer, second.label, second.subtype, second.note, second.why) == (
        2, "dr. b", "benign", "adenosis", "second block", "immunohistochemistry came back",
    )  # fmt: skip
    assert second.saved_at > first.saved_at
    assert agreed.view_sign_off(agreed.readers[0]).versions == (first, second)
    assert agreed.audited_actions()[-1] == "sign-off amended"


def test_amending_twice_needs_the_version_that_stands(agreed: World) -> None:
    agreed.sign_off(agreed.readers[0])
    second = agreed.amend_sign_off(agreed.readers[0], AMENDED)
    assert agreed.amend_sign_off(agreed.readers[0], AMENDED) == second, "a double click"
    with pytest.raises(CaseChangedError, match=r"dr\. a has since saved version 2 \(benign, "):
        agreed.amend_sign_off(agreed.readers[1], replace(AMENDED, note="other"))
    third = agreed.amend_sign_off(agreed.readers[1], replace(AMENDED, note="other"), replaces=2)
    assert third.version == 3


def test_two_amendments_at_once_give_one_version(agreed: World) -> None:
    agreed.sign_off(agreed.readers[0])
    said = at_once(6, lambda n: agreed.amend_sign_off(agreed.readers[n % 2], replace(AMENDED, note=f"by {n % 2}")))
    assert {type(one) for one in said} == {SignOff, CaseChangedError}
    assert len(agreed.view_sign_off(agreed.readers[0]).versions) == 2


def test_an_amendment_says_why_and_changes_something(agreed: World) -> None:
    with pytest.raises(CaseChangedError, match="not signed off yet"):
        agreed.amend_sign_off(agreed.readers[0], AMENDED, replaces=0)
    signed = agreed.sign_off(agreed.readers[0])
    with pytest.raises(ValueError, match="the same as version 1"):
        agreed.amend_sign_off(agreed.readers[0], Amendment(signed.label, signed.subtype, signed.note, "why"))
    with pytest.raises(ValueError, match="give a reason"):
        replace(AMENDED, why="  ")


def test_a_reader_of_an_open_study_learns_nothing_of_the_sign_off(agreed: World) -> None:
    agreed.sign_off(agreed.readers[0])
    join_study(agreed, agreed.readers[1], agreed.case_id)
    with pytest.raises(InStudyError):
        agreed.view_sign_off(agreed.readers[1])
    with pytest.raises(InStudyError):
        agreed.amend_sign_off(agreed.readers[1], AMENDED)


def test_nothing_that_was_signed_or_settled_can_be_changed(settled: World) -> None:
    settled.sign_off(settled.readers[0])
    for table in ("sign_offs", "consensus", "consensus_reads"):
        for statement in (f"UPDATE {table} SET {_column(table)}", f"DELETE FROM {table}"):  # noqa: S608 (our own names)
            with settled.sessions.begin() as session, pytest.raises(Exception, match="added, never changed"):
                session.connection().exec_driver_sql(statement)


def test_an_adjudicated_label_is_known_to_who_has_finished_the_case(settled: World) -> None:
    late = settled.adjudicators[1]
    assert labels(settled, settled.readers[1]) == ({1: "malignant"}, frozenset({1}))
    assert labels(settled, late) == ({}, frozenset())
    join_study(settled, settled.readers[1], settled.case_id)
    assert labels(settled, settled.readers[1]) == ({}, frozenset())


def test_without_a_consensus_the_last_signed_version_is_the_reference(agreed: World) -> None:
    assert labels(agreed, agreed.readers[0]) == ({}, frozenset())
    agreed.sign_off(agreed.readers[0])
    assert labels(agreed, agreed.readers[0]) == ({1: "malignant"}, frozenset())
    agreed.amend_sign_off(agreed.readers[0], AMENDED)
    assert labels(agreed, agreed.readers[0]) == ({1: "benign"}, frozenset())


def test_an_amended_sign_off_is_the_reference_even_after_a_consensus(settled: World) -> None:
    settled.sign_off(settled.readers[0])
    assert labels(settled, settled.readers[0]) == ({1: "malignant"}, frozenset({1}))
    settled.amend_sign_off(settled.readers[0], AMENDED)
    assert labels(settled, settled.readers[0]) == ({1: "benign"}, frozenset())


def test_a_single_reader_signs_what_nobody_else_could_settle(sessions: Sessions) -> None:
    case = revealed_case(sessions)
    with sessions.begin() as session:
        differs = replace(SAYS_BENIGN, reason="quality")
        store.reads.record_final_read(session, case.case_id, case.account_id, differs, OPENED)
        view = store.sign_offs.sign_offs_of(session, case.case_id, case.account_id)
        assert view.proposed is not None
        assert store.sign_offs.sign_off(session, case.case_id, case.account_id, view.proposed, "").label == "benign"


def _column(table: str) -> str:
    return {"consensus_reads": "read_id = read_id"}.get(table, "note = 'x'")
