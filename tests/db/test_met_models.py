"""Who has confirmed what a model is, and the threshold that a site uses of it."""

from dataclasses import replace

import pytest

from db import store
from db.audit.verify import verify
from db.database import Sessions
from db.errors import NotAllowedError
from db.values.accounts import Role
from db.values.adjudication import Adjudication
from db.values.audit import Action
from db.values.evaluations import ThresholdAim
from db.values.reading import Arm, CaseView
from tests.helpers.rows import MODEL, NEWER_MODEL, out_of_scope
from tests.helpers.world import (
    Reader,
    add_person,
    analyse_each,
    make_case,
    make_reader,
    make_study_world,
    make_world,
    place_of,
    ready_case,
    revealed_case,
)


def open_met(sessions: Sessions, reader: Reader) -> CaseView:
    with sessions.begin() as session:
        return store.open_case.open_case(session, reader.case_id, reader.account_id, met_only=True)


def actions(sessions: Sessions) -> list[str]:
    with sessions.read() as session:
        return [event.action for event in store.audit.audit_trail(session, limit=None)]


def confirm(sessions: Sessions, account_id: int, version: str = MODEL.version) -> None:
    with sessions.begin() as session:
        store.models.confirm_model(session, account_id, version)


def test_the_opinion_waits_until_its_reader_has_confirmed_what_the_model_is(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    view = open_met(sessions, reader)
    assert (view.reveal, view.scopes, view.unmet) == (None, (), MODEL)
    assert Action.REVEALED not in actions(sessions), "nothing was shown"
    for _ in range(2):
        confirm(sessions, reader.account_id)
    view = open_met(sessions, reader)
    assert (view.reveal is not None, view.unmet) == (True, None)
    assert actions(sessions).count(Action.MODEL_CONFIRMED) == 1
    assert Action.REVEALED in actions(sessions)
    assert verify(sessions).findings == ()


def test_before_the_first_read_nobody_is_asked(sessions: Sessions) -> None:
    assert open_met(sessions, ready_case(sessions)).unmet is None


def test_the_confirmation_is_of_one_version_and_of_one_account(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    with sessions.begin() as session:
        other = make_reader(session, "dr. b")
    confirm(sessions, reader.account_id, NEWER_MODEL.version)
    confirm(sessions, other)
    assert open_met(sessions, reader).unmet == MODEL


def test_that_the_model_gives_no_opinion_waits_for_the_confirmation_too(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=0)
    with shared_sessions.begin() as session:
        case_id = make_case(session, world.planner)
    analyse_each(shared_sessions, out_of_scope())
    world = replace(world, cases=(case_id,))
    study = world.make_study(world.plan_study((Arm.MODEL_FIRST,)))
    with shared_sessions.begin() as session:
        opened = store.study_reading.open_place(session, study, world.reader, met_only=True)
    assert opened.case is not None
    assert (opened.case.scopes, opened.case.unmet) == ((), MODEL)
    confirm(shared_sessions, world.reader)
    with shared_sessions.begin() as session:
        again = store.study_reading.open_place(session, study, world.reader, met_only=True)
    assert again.case is not None
    assert [one.withheld for one in again.case.scopes] == [True]
    assert place_of(again) == place_of(opened)


def test_an_adjudicator_sees_no_opinion_before_the_confirmation(sessions: Sessions) -> None:
    world = make_world(sessions)
    world.read_differently()
    world.read_first(world.adjudicator, world.case_id)

    def opened() -> Adjudication:
        with sessions.begin() as session:
            return store.adjudication.open_adjudication(session, world.case_id, world.adjudicator, met_only=True)

    before = opened()
    assert (before.case.unmet, before.reads, before.triggers) == (MODEL, (), ())
    assert Action.OPINIONS_SHOWN not in actions(sessions)
    confirm(sessions, world.adjudicator)
    after = opened()
    assert (after.case.unmet, len(after.reads)) == (None, 2)
    assert after.case.reveal is not None


def test_only_who_reads_cases_confirms_and_only_an_administrator_chooses_a_threshold(sessions: Sessions) -> None:
    with sessions.begin() as session:
        researcher = add_person(session, "r", Role.RESEARCHER)
        reader = add_person(session, "dr. a", Role.READER)
    with sessions.begin() as session, pytest.raises(NotAllowedError):
        store.models.confirm_model(session, researcher, MODEL.version)
    for account_id in (researcher, reader):
        with sessions.begin() as session, pytest.raises(NotAllowedError):
            store.models.choose_threshold(session, account_id, MODEL.version, ThresholdAim.SENSITIVITY, 0.2)


def test_the_last_threshold_that_was_chosen_for_a_version_counts_and_is_audited(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        assert store.models.site_threshold(session, MODEL.version) is None
        for aim, value in (
            (ThresholdAim.SENSITIVITY, 0.2),
            (ThresholdAim.BALANCE, 0.41),
            (ThresholdAim.SENSITIVITY, 0.25),
        ):
            store.models.choose_threshold(session, account_id, MODEL.version, aim, value)
    with sessions.read() as session:
        chosen = store.models.site_threshold(session, MODEL.version)
        assert store.models.site_threshold_value(session, MODEL.version) == 0.25
        assert store.models.site_threshold_value(session, NEWER_MODEL.version) is None
        assert store.models.site_threshold(session, NEWER_MODEL.version) is None
        trail = store.audit.audit_trail(session, limit=None)
    assert chosen is not None
    assert (chosen.aim, chosen.value, chosen.account) == (ThresholdAim.SENSITIVITY, 0.25, "dr. a")
    told = [event.subject for event in trail if event.action == Action.THRESHOLD_CHOSEN]
    assert told[0] == f"{MODEL.version}: sensitivity, 0.2500"
    assert len(told) == 3
    assert verify(sessions).findings == ()


@pytest.mark.parametrize("value", [0.0, 1.0, -0.2])
def test_a_threshold_lies_between_0_and_1(sessions: Sessions, value: float) -> None:
    with sessions.begin() as session, pytest.raises(ValueError, match="between 0 and 1"):
        store.models.choose_threshold(session, make_reader(session), MODEL.version, ThresholdAim.BALANCE, value)
