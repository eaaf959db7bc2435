"""Every function of the store that works for an account refuses the roles that may not."""

import inspect
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy.orm import Session

from db import store
from db.access_values import ALLOWED, Permission
from db.adjudication_values import Amendment, Ruling, ToSign
from db.audit import EventFilter
from db.export_values import CaseExport, ExportedCase
from db.reading_values import Arm, Severity
from db.session import Sessions
from db.study_values import CaseChoice, StudyPlan
from db.values import Account, Role
from tests.helpers.rows import BENIGN, MALIGNANT, OPENED, sha256_of
from tests.helpers.world import PASSWORD, revealed_case

pytestmark = pytest.mark.usefixtures("quick_passwords")

_Act = Callable[[Session, int], object]
_REPORT = CaseExport(ExportedCase(1, "C-0001", None, False, (), None), False, (), None, (), (), (), "reader 1", OPENED)
_STUDY = StudyPlan("a study", (1,), (1,), (Arm.UNAIDED,))
_READ: dict[str, _Act] = {
    "add_case": lambda s, by: store.add_case(s, by, accession=None, magnification=None),
    "amend_sign_off": lambda s, by: store.amend_sign_off(
        s, 1, by, Amendment("benign", None, "", "why"), replaces_version=1
    ),
    "amend_read": lambda s, by: store.amend_read(s, 1, by, BENIGN, OPENED),
    "exported_case": lambda s, by: store.exported_case(s, 1, by),
    "case_view": lambda s, by: store.case_view(s, 1, by),
    "claim_case": lambda s, by: store.claim_case(s, 1, by),
    "claim_holders": lambda s, by: store.claim_holders(s, 1, by),
    "heatmap_file": lambda s, by: store.heatmap_file(s, 1, by),
    "image_file": lambda s, by: store.image_file(s, 1, by),
    "may_export_case": lambda s, by: store.may_export_case(s, 1, by),
    "next_case": store.next_case,
    "open_case": lambda s, by: store.open_case(s, 1, by),
    "open_place": lambda s, by: store.open_place(s, 1, by),
    "own_reads": store.own_reads,
    "own_studies": store.own_studies,
    "reads_in_studies": store.reads_in_studies,
    "record_case_export": lambda s, by: store.record_case_export(s, by, 1, _REPORT, "PDF report"),
    "record_final_read": lambda s, by: store.record_final_read(s, 1, by, MALIGNANT, OPENED),
    "record_first_read": lambda s, by: store.record_first_read(s, 1, by, MALIGNANT, OPENED),
    "record_opened": lambda s, by: store.record_opened(s, store.case_view(s, 1, by), by),
    "record_study_read": lambda s, by: store.record_study_read(s, 1, by, BENIGN, OPENED),
    "release_claim": store.release_claim,
    "remembered_magnification": store.remembered_magnification,
    "sign_off": lambda s, by: store.sign_off(s, 1, by, ToSign("benign", None, None, 1), ""),
    "sign_offs_of": lambda s, by: store.sign_offs_of(s, 1, by),
    "state_counts": store.state_counts,
    "withdraw_read": lambda s, by: store.withdraw_read(s, 1, by),
    "worklist": store.worklist,
}
_ADJUDICATE: dict[str, _Act] = {
    "cases_to_adjudicate": store.cases_to_adjudicate,
    "open_adjudication": lambda s, by: store.open_adjudication(s, 1, by),
    "record_consensus": lambda s, by: store.record_consensus(
        s, 1, by, Ruling("benign", 4, Severity.NONE), OPENED, seen=()
    ),
}
_PLAN: dict[str, _Act] = {
    "assign": lambda s, by: store.assign(s, by, [1], _named(s, "other").id, active=True),
    "assignable_readers": store.assignable_readers,
    "cases_for_study": lambda s, by: store.cases_for_study(s, by, CaseChoice()),
    "cases_named": lambda s, by: store.cases_named(s, by, ["C-0001"]),
    "cases_to_plan": store.cases_to_plan,
    "close_study": lambda s, by: store.close_study(s, by, 1),
    "make_study": lambda s, by: store.make_study(s, by, _STUDY),
    "preview_study": lambda s, by: store.preview_study(s, by, _STUDY),
    "set_priority": lambda s, by: store.set_priority(s, by, [1], urgent=True),
    "studies": store.studies,
    "study_readers": store.study_readers,
}
_ADMINISTER: dict[str, _Act] = {
    "account_rows": store.account_rows,
    "all_events": lambda s, by: store.all_events(s, by, EventFilter()),
    "event_choices": store.event_choices,
    "event_page": lambda s, by: store.event_page(s, by, EventFilter(), number=1, size=10),
    "add_signing_account": lambda s, by: store.add_signing_account(s, by, "new", Role.READER, PASSWORD),
    "add_token": lambda s, by: store.add_token(s, by, _named(s, "other"), "x"),
    "identity_rows": store.identity_rows,
    "link_identity": lambda s, by: store.link_identity(s, by, "other", "https://id.example", subject="1"),
    "put_in_service": lambda s, by: store.put_in_service(s, by, "a.safetensors", sha256_of("a"), "a"),
    "revoke_token": lambda s, by: store.revoke_token(s, by, 1),
    "set_disabled": lambda s, by: store.set_disabled(s, by, "other", disabled=True),
    "set_password": lambda s, by: store.set_password(s, by, "other", PASSWORD),
    "set_role": lambda s, by: store.set_role(s, by, "other", Role.READER),
    "token_rows": store.token_rows,
    "unlink_identity": lambda s, by: store.unlink_identity(s, by, 1),
}
_SEE_AGREEMENT: dict[str, _Act] = {
    "adjudicated_labels": store.adjudicated_labels,
    "finished_readings": store.finished_readings,
}
_ACTS = _READ | _ADJUDICATE | _PLAN | _ADMINISTER | _SEE_AGREEMENT
_NEEDED = (
    dict.fromkeys(_READ, Permission.READ_CASES)
    | dict.fromkeys(_ADJUDICATE, Permission.ADJUDICATE)
    | dict.fromkeys(_PLAN, Permission.PLAN_READING)
    | dict.fromkeys(_ADMINISTER, Permission.ADMINISTER)
    | dict.fromkeys(_SEE_AGREEMENT, Permission.SEE_AGREEMENT)
)
# The check itself; the audit trail, in which anything may be said of anybody; and exports of reads, of which every
# role may have some: tests/service/test_reports_mrmc.py says who gets what.
_FOR_EVERYBODY = {"need", "record_event", "exportable_studies", "exported_reads", "record_export"}


def test_every_store_function_for_an_account_is_in_this_matrix() -> None:
    found = set()
    for name in store.__all__:
        act = getattr(store, name)
        if inspect.isfunction(act) and {"account_id", "by"} & set(inspect.signature(act).parameters):
            found.add(name)
    assert found - _FOR_EVERYBODY == set(_NEEDED)


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_each_role_may_do_what_it_may_and_nothing_else(sessions: Sessions, role: Role) -> None:
    case = revealed_case(sessions)
    by = _prepare(sessions, role)
    assert case.case_id == 1
    for name, act in _ACTS.items():
        refused = _is_refused(sessions, act, by.id)
        assert refused is (_NEEDED[name] not in ALLOWED[role]), (role, name)


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_a_disabled_account_may_do_nothing(sessions: Sessions, role: Role) -> None:
    revealed_case(sessions)
    by = _prepare(sessions, role)
    with sessions.begin() as session:
        store.set_disabled(session, None, by.name, disabled=True)
    for name, act in _ACTS.items():
        assert _is_refused(sessions, act, by.id), (role, name)


def test_the_single_reader_may_do_nothing_any_more_once_there_are_accounts(sessions: Sessions) -> None:
    reader = revealed_case(sessions).account_id
    assert not _is_refused(sessions, _READ["open_case"], reader)
    assert not _is_refused(sessions, _ADMINISTER["put_in_service"], reader)
    _prepare(sessions, Role.READER)
    for name, act in _ACTS.items():
        assert _is_refused(sessions, act, reader), name


def test_a_researcher_sees_readings_without_the_names_of_readers_and_cases(sessions: Sessions) -> None:
    case = revealed_case(sessions)
    with sessions.begin() as session:
        store.record_final_read(session, case.case_id, case.account_id, MALIGNANT, OPENED)
        named = store.finished_readings(session, case.account_id)[0]
    by = _prepare(sessions, Role.RESEARCHER)
    with sessions.read() as session:
        found = store.finished_readings(session, by.id)
    assert re.fullmatch(r"reader [0-9a-f]{8}", found[0].reader)
    assert re.fullmatch(r"case [0-9a-f]{8}", found[0].accession)
    with sessions.read() as session:
        assert store.finished_readings(session, by.id) == found, "the numbers last"
    assert replace(found[0], reader=named.reader, accession=named.accession) == named


def _prepare(sessions: Sessions, role: Role) -> Account:
    with sessions.begin() as session:
        store.add_signing_account(session, None, "other", Role.READER, PASSWORD)
        by = store.add_signing_account(session, None, "one", role, PASSWORD)
        store.add_token(session, None, _named(session, "other"), "x")
    return by


def _named(session: Session, name: str) -> Account:
    account = store.account_named(session, name)
    assert account is not None
    return account


def _is_refused(sessions: Sessions, act: _Act, by: int) -> bool:
    """Say whether the role was refused; what fails for another reason was let in."""
    try:
        with sessions.begin() as session:
            act(session, by)
    except store.NotAllowedError:
        return True
    except (ValueError, LookupError, store.NotRevealedError, store.CaseChangedError):
        return False
    return False
