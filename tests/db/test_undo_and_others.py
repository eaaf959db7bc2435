"""Undo is no way round blindness: it ends when anything of others is shown, and what comes after is informed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from core import clock
from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError, NotRevealedError
from db.values.adjudication import SignOff
from db.values.audit import Action
from db.values.reading import CaseState, Read
from tests.helpers.rows import OPENED, SAYS_BENIGN, SAYS_MALIGNANT, sha256_of, study_rows
from tests.helpers.world import World, make_world

MINUTE = timedelta(seconds=60)


@pytest.fixture
def world(sessions: Sessions) -> World:
    """A case that two readers have just finished, one after the other, differently."""
    world = make_world(sessions)
    world.read_differently()
    return world


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Move the clock of the process."""
    now = clock.now

    def move(by: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: now() + by)

    return move


def _final(world: World, account_id: int) -> Read:
    with world.sessions.read() as session:
        return store.reads.own_reads(session, account_id)[-1]


def _withdraw(world: World, account_id: int, read: Read | None = None) -> Read:
    with world.sessions.begin() as session:
        return store.reads.withdraw_read(session, (read or _final(world, account_id)).id, account_id)


def _undo_left(world: World, account_id: int) -> timedelta:
    with world.sessions.read() as session:
        return store.reads.undo_left(session, _final(world, account_id).id, account_id)


def _known(world: World, account_id: int) -> tuple[CaseState, int, bool, bool]:
    """Return what queries tell of others now: the state, readings, whether there is a proposal, and a report."""
    with world.sessions.read() as session:
        state = store.worklist.case_state(session, world.case_id, account_id)
        readings = store.agreement.finished_readings(session, account_id)
        signed = store.sign_offs.sign_offs_of(session, world.case_id, account_id)
        report = store.exports.may_export_case(session, world.case_id, account_id)
    return state, len(readings), signed.proposed is not None, report


def test_while_a_read_can_be_withdrawn_nothing_tells_what_others_said(world: World) -> None:
    assert _known(world, world.reader) == (CaseState.FINAL, 0, False, False)
    with world.sessions.read() as session, pytest.raises(NotRevealedError, match="save your final opinion first"):
        store.exports.exported_case(session, world.case_id, world.reader)
    with world.sessions.read() as session:
        assert store.worklist.state_counts(session, world.reader)[CaseState.DISCORDANT] == 0
        assert store.adjudication.adjudicated_labels(session, world.reader).labels == {}
    assert timedelta() < _undo_left(world, world.reader) <= MINUTE
    _withdraw(world, world.reader)


def test_undo_ends_when_what_others_said_is_shown(world: World) -> None:
    world.end_undo(world.reader)
    assert _known(world, world.reader) == (CaseState.DISCORDANT, 2, True, True)
    assert _undo_left(world, world.reader) == timedelta()
    with pytest.raises(CaseChangedError, match="you have seen what others said of this case: amend your opinion"):
        _withdraw(world, world.reader)
    assert _undo_left(world, world.readers[1]) > timedelta(), "the other reader has not looked"


def test_opening_the_finished_case_ends_undo_because_the_page_shows_its_sign_off(world: World) -> None:
    world.open_case(world.case_id)
    assert _known(world, world.reader)[0] is CaseState.DISCORDANT
    with pytest.raises(CaseChangedError, match="you have seen"):
        _withdraw(world, world.reader)


def test_after_a_minute_undo_is_over_and_others_are_known(world: World, later: Callable[[timedelta], None]) -> None:
    later(MINUTE)
    assert _known(world, world.reader) == (CaseState.DISCORDANT, 2, True, True)
    assert _undo_left(world, world.reader) == timedelta()
    with pytest.raises(CaseChangedError, match="only for 60 seconds: amend it instead"):
        _withdraw(world, world.reader)


def test_a_reader_who_is_alone_loses_no_undo_by_looking(sessions: Sessions) -> None:
    world = make_world(sessions)
    world.read(world.reader, world.case_id, SAYS_MALIGNANT)
    assert _known(world, world.reader)[1] == 1
    world.end_undo(world.reader)
    world.open_case(world.case_id)
    assert _undo_left(world, world.reader) > timedelta()
    _withdraw(world, world.reader)
    with sessions.begin() as session:
        again = store.reads.record_final_read(session, world.case_id, world.reader, SAYS_MALIGNANT, OPENED)
    assert not again.informed


def test_an_amendment_cannot_be_withdrawn_to_be_given_anew_as_independent(world: World) -> None:
    amended = world.amend(world.reader, SAYS_BENIGN)
    with pytest.raises(CaseChangedError, match="amend it instead"):
        _withdraw(world, world.reader, amended)


def test_what_is_given_after_others_were_shown_is_informed_and_left_out_of_agreement(world: World) -> None:
    before = _final(world, world.reader)
    world.end_undo(world.reader)
    amended = world.amend(world.reader, SAYS_BENIGN)
    assert (before.informed, amended.informed, _final(world, world.reader).informed) == (False, True, True)
    with world.sessions.read() as session:
        mine = store.agreement.finished_readings(session, world.reader)[0]
    assert mine.final is not None
    assert mine.standing == mine.final
    assert mine.standing.label == "malignant"


def test_an_amendment_before_anything_was_shown_still_counts(world: World) -> None:
    assert not world.amend(world.reader, SAYS_BENIGN).informed
    with world.sessions.read() as session:
        mine = store.agreement.finished_readings(session, world.reader)[0]
    assert (mine.final and mine.final.label, mine.standing and mine.standing.label) == ("malignant", "benign")


def test_an_amendment_after_the_minute_is_informed_if_others_had_read(
    world: World, later: Callable[[timedelta], None]
) -> None:
    later(MINUTE)
    assert world.amend(world.reader, SAYS_BENIGN).informed


def test_a_read_in_a_later_study_is_informed_and_left_out_too(world: World) -> None:
    world.end_undo(world.reader)
    world.add(*study_rows(world.case_id, world.reader, world.readers[1]))
    first = world.read_at_place(1, SAYS_MALIGNANT)
    final = world.read_at_place(1, SAYS_MALIGNANT, seen=())
    assert (first.informed, final.informed) == (True, True)
    with world.sessions.begin() as session:
        session.get_one(tables.Study, 1).closed_at = OPENED
    with world.sessions.read() as session:
        readings = store.agreement.finished_readings(session, world.reader)
    assert [(one.reader, one.iteration) for one in readings] == [("dr. a", 1), ("dr. b", 1)]


def test_a_picture_that_was_read_in_another_case_makes_the_next_read_informed(world: World) -> None:
    with world.sessions.begin() as session:
        twin = store.cases.add_case(session, world.reader, accession=None, magnification=None)
        fresh = store.cases.add_case(session, world.reader, accession=None, magnification=None)
        same = session.get_one(tables.Image, 1)
        for case, file in ((twin, same.file_sha256), (fresh, sha256_of("another picture"))):
            session.add(
                tables.Image(
                    case_id=case, position=1, source_sha256=sha256_of(f"file of {case}"), file_sha256=file,
                    height=460, width=700, sharpness=1, tissue_fraction=1, findings=[], added_at=OPENED,
                )
            )  # fmt: skip
    assert world.read_first(world.reader, twin).informed, "the model's opinion of this picture was shown"
    assert not world.read_first(world.reader, fresh).informed
    assert not world.read_first(world.adjudicator, twin).informed
    with world.sessions.begin() as session:
        store.reads.record_final_read(session, twin, world.reader, SAYS_MALIGNANT, OPENED)
    world.end_undo(world.reader)
    with world.sessions.read() as session:
        readings = store.agreement.finished_readings(session, world.reader)
    said = [(one.case_id, one.reader, one.standing.label if one.standing else None) for one in readings]
    one, other = ((world.case_id, name, label) for name, label in (("dr. a", "malignant"), ("dr. b", "benign")))
    assert said == [one, other, (twin, "dr. j", None)], "nothing of dr. a's second reading"


def test_every_window_asks_the_store_and_looking_in_one_ends_undo_in_all(world: World) -> None:
    read = _final(world, world.reader)
    with world.sessions.read() as session:
        assert store.reads.finals_to_close(session, world.reader) == [world.case_id]
        assert store.reads.undo_left(session, read.id, world.readers[1]) == timedelta(), "not their read"
    world.end_undo(world.reader)
    world.end_undo(world.reader)
    with world.sessions.read() as session:
        assert store.reads.finals_to_close(session, world.reader) == []
        shown = [e for e in store.audit.audit_trail(session) if e.action == Action.OPINIONS_SHOWN]
    assert [event.account for event in shown] == ["dr. a"]


def test_nobody_signs_off_what_they_can_still_take_back(world: World) -> None:
    with world.sessions.begin() as session:
        store.reads.withdraw_read(session, _final(world, world.readers[1]).id, world.readers[1])
        store.reads.record_final_read(session, world.case_id, world.readers[1], SAYS_MALIGNANT, OPENED)
    proposed = world.view_sign_off(world.readers[1]).proposed
    assert proposed is not None
    with world.sessions.begin() as session, pytest.raises(NotRevealedError, match="Only a reader who has finished"):
        store.sign_offs.sign_off(session, world.case_id, world.reader, proposed, "")
    assert isinstance(world.sign_off(world.reader, proposed), SignOff)


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(seconds=10), timedelta(days=-400)])
def test_a_clock_set_back_while_the_server_is_stopped_gives_no_undo_back(
    world: World, later: Callable[[timedelta], None], jump: timedelta
) -> None:
    later(2 * MINUTE)
    with world.sessions.begin() as session:
        store.exports.record_download(session, world.readers[1], "a table")
    later(jump)
    assert _undo_left(world, world.reader) == timedelta()
    with pytest.raises(CaseChangedError, match="only for 60 seconds"):
        _withdraw(world, world.reader)


def test_a_read_from_the_future_cannot_be_withdrawn(sessions: Sessions) -> None:
    world = make_world(sessions)
    world.read_first(world.reader, world.case_id)
    world.add(
        tables.Read(
            case_id=world.case_id, account_id=world.reader, stage="final", label="benign", confidence=3, note="",
            model_visible=False, opened_at=OPENED, saved_at=clock.now() + timedelta(hours=1),
        )
    )  # fmt: skip
    assert _undo_left(world, world.reader) == timedelta()


def test_a_replaced_opinion_of_a_reader_is_still_not_theirs_to_take_back(world: World) -> None:
    read = _final(world, world.readers[1])
    with pytest.raises(CaseChangedError, match="no final opinion of yours"):
        _withdraw(world, world.reader, replace(read))
