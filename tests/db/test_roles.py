"""Every function of the store that works for an account refuses the roles that may not."""

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core.imaging.scale import Scale
from db import store
from db.database import Sessions
from db.errors import CaseChangedError, NotAllowedError, NotRevealedError
from db.values.accounts import ALLOWED, Account, Permission, Role
from db.values.adjudication import Amendment, ProposedSignOff, Ruling, Severity
from db.values.agreement import ComparedReadings, ReadingFilter
from db.values.audit import EventFilter
from db.values.evaluations import ThresholdAim
from db.values.exports import CaseExport, ExportedCase
from db.values.reading import Arm
from db.values.scales import ChosenScale
from db.values.studies import CaseChoice, StudyPlan
from tests.helpers.rows import BENIGN, MALIGNANT, OPENED, sha256_of
from tests.helpers.world import PASSWORD, revealed_case

pytestmark = pytest.mark.usefixtures("quick_passwords")

_Act = Callable[[Session, int], object]
_REPORT = CaseExport(ExportedCase(1, "C-0001", None, False, (), None), False, (), None, (), (), (), "reader 1", OPENED)
_STUDY = StudyPlan("a study", (1,), (1,), (Arm.UNAIDED,))
_READ: dict[str, _Act] = {
    "add_case": lambda s, by: store.cases.add_case(s, by, accession=None, magnification=None),
    "amend_sign_off": lambda s, by: store.sign_offs.amend_sign_off(
        s, 1, by, Amendment("benign", None, "", "why"), replaces_version=1
    ),
    "amend_read": lambda s, by: store.reads.amend_read(s, 1, by, BENIGN, OPENED),
    "exported_case": lambda s, by: store.exports.exported_case(s, 1, by),
    "begin_intake": lambda s, by: store.intakes.begin_intake(s, by, None, 2),
    "order_images": lambda s, by: store.intakes.order_images(s, by, 1, []),
    "own_cases": store.intakes.own_cases,
    "posted_case": lambda s, by: store.posted_cases.posted_case(s, 1, by),
    "posted_job": lambda s, by: store.posted_cases.posted_job(s, 1, by),
    "interrupted_case": lambda s, by: store.posted_cases.interrupted_case(s, by, ["0" * 64], OPENED),
    "case_view": lambda s, by: store.open_case.case_view(s, 1, by),
    "claim_case": lambda s, by: store.claims.claim_case(s, 1, by),
    "confirm_model": lambda s, by: store.models.confirm_model(s, by, "v"),
    "is_confirmed": lambda s, by: store.models.is_confirmed(s, by, "v"),
    "claim_holders": lambda s, by: store.claims.claim_holders(s, 1, by),
    "heatmap_file": lambda s, by: store.open_case.heatmap_file(s, 1, by),
    "scope_map_file": lambda s, by: store.open_case.scope_map_file(s, 1, by),
    "image_file": lambda s, by: store.open_case.image_file(s, 1, by),
    "may_export_case": lambda s, by: store.exports.may_export_case(s, 1, by),
    "end_undo": store.reads.end_undo,
    "finals_to_close": store.reads.finals_to_close,
    "undo_left": lambda s, by: store.reads.undo_left(s, 1, by),
    "find_next_case": store.worklist.find_next_case,
    "open_case": lambda s, by: store.open_case.open_case(s, 1, by),
    "open_place": lambda s, by: store.study_reading.open_place(s, 1, by),
    "own_reads": store.reads.own_reads,
    "each_own_read": store.reads.each_own_read,
    "has_own_reads": store.reads.has_own_reads,
    "own_accessions": store.reads.own_accessions,
    "own_studies": store.study_reading.own_studies,
    "reads_in_studies": store.study_reading.reads_in_studies,
    "record_case_export": lambda s, by: store.exports.record_case_export(s, by, 1, _REPORT, "PDF report"),
    "record_final_read": lambda s, by: store.reads.record_final_read(s, 1, by, MALIGNANT, OPENED),
    "record_first_read": lambda s, by: store.reads.record_first_read(s, 1, by, MALIGNANT, OPENED),
    "record_opened": lambda s, by: store.open_case.record_opened(s, store.open_case.case_view(s, 1, by), by),
    "record_study_read": lambda s, by: store.study_reading.record_study_read(s, 1, by, BENIGN, OPENED),
    "release_claim": store.claims.release_claim,
    "remembered_magnification": store.cases.remembered_magnification,
    "can_set_scale": lambda s, by: store.scales.can_set_scale(s, by, 1),
    "set_scale": lambda s, by: store.scales.set_scale(s, by, 1, ChosenScale(Scale(0.5, "typed"))),
    "set_magnification": lambda s, by: store.cases.set_magnification(s, by, 1, "40X"),
    "sign_off": lambda s, by: store.sign_offs.sign_off(s, 1, by, ProposedSignOff("benign", None, None, 1), ""),
    "sign_offs_of": lambda s, by: store.sign_offs.sign_offs_of(s, 1, by),
    "case_embeddings": lambda s, by: store.similar_cases.case_embeddings(s, 1, by),
    "comparable_images": lambda s, by: store.similar_cases.comparable_images(s, 1, by, [1]),
    "record_shown": lambda s, by: store.similar_cases.record_shown(s, 1, by),
    "state_counts": store.worklist.state_counts,
    "withdraw_read": lambda s, by: store.reads.withdraw_read(s, 1, by),
    "worklist": store.worklist.worklist,
}
_ADJUDICATE: dict[str, _Act] = {
    "cases_to_adjudicate": store.adjudication.cases_to_adjudicate,
    "open_adjudication": lambda s, by: store.adjudication.open_adjudication(s, 1, by),
    "record_consensus": lambda s, by: store.adjudication.record_consensus(
        s, 1, by, Ruling("benign", 4, Severity.NONE), OPENED, seen=()
    ),
}
_PLAN: dict[str, _Act] = {
    "assign": lambda s, by: store.planning.assign(s, by, [1], _named(s, "other").id, active=True),
    "assignable_readers": store.planning.assignable_readers,
    "cases_for_study": lambda s, by: store.studies.cases_for_study(s, by, CaseChoice()),
    "find_cases": lambda s, by: store.studies.find_cases(s, by, ["C-0001"]),
    "cases_to_plan": store.planning.cases_to_plan,
    "close_study": lambda s, by: store.studies.close_study(s, by, 1),
    "make_study": lambda s, by: store.studies.make_study(s, by, _STUDY),
    "preview_study": lambda s, by: store.studies.preview_study(s, by, _STUDY),
    "set_priority": lambda s, by: store.planning.set_priority(s, by, [1], urgent=True),
    "studies": store.studies.studies,
    "study_readers": store.studies.study_readers,
}
_ADMINISTER: dict[str, _Act] = {
    "account_rows": store.accounts.account_rows,
    "all_events": lambda s, by: store.audit.all_events(s, by, EventFilter()),
    "event_choices": store.audit.event_choices,
    "event_page": lambda s, by: store.audit.event_page(s, by, EventFilter(), number=1, size=10),
    "add_signing_account": lambda s, by: store.accounts.add_signing_account(s, by, "new", Role.READER, PASSWORD),
    "add_token": lambda s, by: store.sign_ins.add_token(s, by, _named(s, "other"), "x"),
    "identity_rows": store.identities.identity_rows,
    "open_to_predictions": lambda s, by: store.predictable.open_to_predictions(s, by, "C-0001", "why"),
    "overlap": lambda s, by: store.evaluations.overlap(s, by, 1),
    "shipped_overlap": lambda s, by: store.evaluations.shipped_overlap(s, by, []),
    "link_identity": lambda s, by: store.identities.link_identity(s, by, "other", "https://id.example", subject="1"),
    "choose_threshold": lambda s, by: store.models.choose_threshold(s, by, "v", ThresholdAim.SENSITIVITY, 0.2),
    "judged_cases": lambda s, by: store.site_calibrations.judged_cases(s, by, "v"),
    "record_calibration": lambda s, by: store.site_calibrations.record_calibration(s, by, "v", "w", "x"),
    "put_in_service": lambda s, by: store.models.put_in_service(s, by, "a.safetensors", sha256_of("a"), "a"),
    "revoke_token": lambda s, by: store.sign_ins.revoke_token(s, by, 1),
    "set_disabled": lambda s, by: store.accounts.set_disabled(s, by, "other", disabled=True),
    "set_objective": lambda s, by: store.scales.set_objective(s, by, "BX", "10x", 0.5),
    "set_password": lambda s, by: store.accounts.set_password(s, by, "other", PASSWORD),
    "set_role": lambda s, by: store.accounts.set_role(s, by, "other", Role.READER),
    "token_rows": store.sign_ins.token_rows,
    "unlink_identity": lambda s, by: store.identities.unlink_identity(s, by, 1),
}
_SEE_AGREEMENT: dict[str, _Act] = {
    "adjudicated_labels": store.adjudication.adjudicated_labels,
    "finished_readings": store.agreement.finished_readings,
    "has_readings": store.agreement.has_readings,
    "alike_readings": lambda s, by: store.agreement.alike_readings(s, by, ComparedReadings.MODEL),
    "cases_behind": lambda s, by: store.agreement.cases_behind(s, by, ComparedReadings.MODEL, [{"k"}]),
    "cases_named": lambda s, by: store.agreement.cases_named(s, by, {"c-0001"}),
    "reading_seconds": lambda s, by: store.agreement.reading_seconds(s, by, ReadingFilter()),
    "map_votes": lambda s, by: store.agreement.map_votes(s, by, "0123456789ab"),
    "slowest_readings": lambda s, by: store.agreement.slowest_readings(s, by, "first", ReadingFilter()),
}
_SEE_MODELS: dict[str, _Act] = {
    "count_evaluated_images": lambda s, by: store.evaluations.count_evaluated_images(s, by, 1),
    "evaluated_images": lambda s, by: store.evaluations.evaluated_images(s, by, 1),
    "evaluation": lambda s, by: store.evaluations.evaluation(s, by, 1),
    "evaluations": store.evaluations.evaluations,
    "hidden_images": lambda s, by: store.evaluations.hidden_images(s, by, 1),
    "objectives": store.scales.objectives,
    "hidden_shipped_images": lambda s, by: store.evaluations.hidden_shipped_images(s, by, []),
}
_WATCH: dict[str, _Act] = {"uploaded_scopes": lambda s, by: store.uploads.uploaded_scopes(s, by, "v")}
_ACTS = _READ | _ADJUDICATE | _PLAN | _ADMINISTER | _SEE_AGREEMENT | _SEE_MODELS | _WATCH
_NEEDED = (
    dict.fromkeys(_READ, Permission.READ_CASES)
    | dict.fromkeys(_ADJUDICATE, Permission.ADJUDICATE)
    | dict.fromkeys(_PLAN, Permission.PLAN_READING)
    | dict.fromkeys(_ADMINISTER, Permission.ADMINISTER)
    | dict.fromkeys(_SEE_AGREEMENT, Permission.SEE_AGREEMENT)
    | dict.fromkeys(_SEE_MODELS, Permission.SEE_MODELS)
    | dict.fromkeys(_WATCH, Permission.WATCH_UPLOADS)
)
# Exports of reads, of which every role may have some: tests/service/test_mrmc.py says who gets what. Files
# of pages are downloaded by whoever sees the page.
_FOR_EVERYBODY = {"export_extent", "exportable_studies", "exported_reads", "record_export", "record_download"}
# For the uploader, who reads cases, and for planners, who do not: tests/db/test_intakes.py says who gets what.
_FOR_UPLOADERS_AND_PLANNERS = {"end_intake", "open_intakes"}
# Opens its own sessions: tests/pages/test_audit.py says who may call it.
_OPENS_SESSIONS = {"verify_for"}
# Steps of other functions of the store, which have asked already.
_STEPS = {
    "case_state",
    "end_sign_ins",
    "lock_case_to_read",
    "queue_again",
    "revoke_tokens",
}


def test_every_store_function_for_an_account_is_in_this_matrix() -> None:
    found = set()
    for subject in store.__all__:
        module = getattr(store, subject)
        for name, act in inspect.getmembers(module, inspect.isfunction):
            if act.__module__ != module.__name__ or name.startswith("_"):
                continue
            if {"account_id", "by"} & set(inspect.signature(act).parameters):
                found.add(name)
    elsewhere = _FOR_EVERYBODY | _FOR_UPLOADERS_AND_PLANNERS | _OPENS_SESSIONS
    assert found - elsewhere - _STEPS == set(_NEEDED)
    assert found >= elsewhere | _STEPS


def test_steps_of_the_store_are_called_by_the_store_only() -> None:
    for package in ("service", "pages", "training"):
        for path in (Path(__file__).resolve().parents[2] / package).rglob("*.py"):
            called = {
                node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)
            }
            assert not called & _STEPS, path


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
        store.accounts.set_disabled(session, None, by.name, disabled=True)
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
        store.reads.record_final_read(session, case.case_id, case.account_id, MALIGNANT, OPENED)
        named = store.agreement.finished_readings(session, case.account_id)[0]
    by = _prepare(sessions, Role.RESEARCHER)
    with sessions.read() as session:
        found = store.agreement.finished_readings(session, by.id)
    assert re.fullmatch(r"reader [0-9a-f]{8}", found[0].reader)
    assert re.fullmatch(r"case [0-9a-f]{8}", found[0].accession)
    with sessions.read() as session:
        assert store.agreement.finished_readings(session, by.id) == found, "the numbers last"
    assert replace(found[0], reader=named.reader, accession=named.accession) == named


def _prepare(sessions: Sessions, role: Role) -> Account:
    with sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "other", Role.READER, PASSWORD)
        by = store.accounts.add_signing_account(session, None, "one", role, PASSWORD)
        store.sign_ins.add_token(session, None, _named(session, "other"), "x")
    return by


def _named(session: Session, name: str) -> Account:
    account = store.accounts.account_named(session, name)
    assert account is not None
    return account


def _is_refused(sessions: Sessions, act: _Act, by: int) -> bool:
    """Say whether the role was refused; what fails for another reason was let in."""
    try:
        with sessions.begin() as session:
            act(session, by)
    except NotAllowedError:
        return True
    except (ValueError, LookupError, NotRevealedError, CaseChangedError):
        return False
    return False
