"""Tokens have a scope that fits their account, no program gets a prediction of an unread case, and keys count once."""

from dataclasses import replace

import pytest

from db import store
from db.audit.verify import verify
from db.database import Sessions
from db.errors import KeyReusedError, StillBlindError, UnknownCaseError
from db.values.accounts import Account, Role, TokenScope, may_hold
from db.values.programs import KeyedAnswer, KeyedRequest
from tests.helpers.rows import sha256_of, sign_off_row, stored_image, study_rows
from tests.helpers.world import make_case, make_reader, ready_case

_SCOPES_OF = {
    Role.READER: {TokenScope.CASES},
    Role.ADJUDICATOR: {TokenScope.CASES},
    Role.RESEARCHER: {TokenScope.PREDICT, TokenScope.READS},
    Role.ADMINISTRATOR: {TokenScope.PREDICT, TokenScope.READS},
}


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_no_account_that_reads_cases_gets_a_token_for_predictions_or_reads(sessions: Sessions, role: Role) -> None:
    account = _account(sessions, role)
    for scope in TokenScope:
        assert may_hold(role, scope) is (scope in _SCOPES_OF[role])
        with sessions.begin() as session:
            if scope in _SCOPES_OF[role]:
                secret = store.sign_ins.add_token(session, None, account, "x", scope)
                found = store.sign_ins.find_token(session, secret)
                assert found is not None
                assert (found.account, found.scope) == (account, scope)
            else:
                with pytest.raises(ValueError, match=r"choose the account of a reader or|choose a researcher or"):
                    store.sign_ins.add_token(session, None, account, "x", scope)
    assert verify(sessions).findings == ()


def test_a_token_for_predictions_ends_when_its_account_becomes_a_reader(sessions: Sessions) -> None:
    account = _account(sessions, Role.RESEARCHER)
    with sessions.begin() as session:
        secret = store.sign_ins.add_token(session, None, account, "x", TokenScope.PREDICT)
        store.accounts.set_role(session, None, account.name, Role.READER)
    with sessions.read() as session:
        assert store.sign_ins.find_token(session, secret) is None


def test_the_scope_of_a_token_is_in_the_list_and_in_the_audit_trail(sessions: Sessions) -> None:
    account = _account(sessions, Role.RESEARCHER)
    with sessions.begin() as session:
        store.sign_ins.add_token(session, None, account, "nightly", TokenScope.READS)
        assert [row.scope for row in store.sign_ins.token_rows(session, None)] == [TokenScope.READS]
        assert store.audit.audit_trail(session)[0].subject == f"{account.name}: nightly (reads)"


def test_an_image_is_refused_by_its_file_and_by_its_pixels_until_its_case_is_signed_off(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    stored = stored_image(f"case {reader.case_id}, image 0")
    other = sha256_of("no such image")
    for source, file in ((stored.source_sha256, other), (other, stored.file_sha256), (stored.source_sha256, None)):
        assert _is_refused(sessions, source, file)
    assert not _is_refused(sessions, other, other)
    with sessions.begin() as session:
        session.add(sign_off_row(reader.case_id, reader.account_id))
    assert not _is_refused(sessions, stored.source_sha256, stored.file_sha256)


def test_of_several_cases_with_the_same_pixels_every_one_must_be_read(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    stored = stored_image(f"case {reader.case_id}, image 0")
    with sessions.begin() as session:
        second = store.cases.add_case(session, reader.account_id, accession=None, magnification=None)
        again = stored_image("another file of the same pixels")
        store.cases.add_image(session, second, replace(again, file_sha256=stored.file_sha256))
        session.add(sign_off_row(reader.case_id, reader.account_id))
    assert _is_refused(sessions, sha256_of("x"), stored.file_sha256)
    with sessions.begin() as session:
        store.predictable.open_to_predictions(session, None, "C-0002", "why not")
    assert not _is_refused(sessions, sha256_of("x"), stored.file_sha256)


@pytest.mark.parametrize("closed", [False, True])
def test_a_signed_case_is_still_to_be_read_while_a_study_of_it_is_open(sessions: Sessions, closed: bool) -> None:
    reader = ready_case(sessions)
    with sessions.begin() as session:
        session.add(sign_off_row(reader.case_id, reader.account_id))
        session.add_all(study_rows(reader.case_id, reader.account_id, reader.account_id, closed=closed))
    assert _is_refused(sessions, stored_image(f"case {reader.case_id}, image 0").source_sha256, None) is not closed


def test_a_case_is_opened_once_and_only_for_a_reason(sessions: Sessions) -> None:
    with sessions.begin() as session:
        make_case(session, make_reader(session))
        for why in ("", "x" * 201, "a\x00b"):
            with pytest.raises(ValueError, match="reason"):
                store.predictable.open_to_predictions(session, None, "C-0001", why)
        with pytest.raises(UnknownCaseError):
            store.predictable.open_to_predictions(session, None, "C-0009", "why not")
        for _ in range(2):
            store.predictable.open_to_predictions(session, None, "c-0001", "why not")
        actions = [event.action for event in store.audit.audit_trail(session)]
    assert actions.count("case opened to predictions") == 1
    assert verify(sessions).findings == ()


def test_a_request_with_a_key_has_one_answer(sessions: Sessions) -> None:
    account = _account(sessions, Role.READER)
    with sessions.begin() as session:
        tokens = [store.sign_ins.add_token(session, None, account, "x", TokenScope.CASES) for _ in range(2)]
        first, second = (store.sign_ins.find_token(session, secret) for secret in tokens)
        assert first is not None
        assert second is not None
        request = KeyedRequest(first.id, "k", sha256_of("a request"))
        begun = store.keyed_requests.begin_request(session, request)
        assert (begun.again, begun.answer) == (False, None)
        interrupted = store.keyed_requests.begin_request(session, request)
        assert (interrupted.again, interrupted.at, interrupted.answer) == (True, begun.at, None)
        store.keyed_requests.record_answer(session, request, KeyedAnswer(201, "{}"))
        assert store.keyed_requests.begin_request(session, request).answer == KeyedAnswer(201, "{}")
        with pytest.raises(KeyReusedError):
            store.keyed_requests.begin_request(session, KeyedRequest(first.id, "k", sha256_of("another request")))
        others = KeyedRequest(second.id, "k", sha256_of("another request"))
        assert not store.keyed_requests.begin_request(session, others).again, "each token has its own keys"


def _account(sessions: Sessions, role: Role) -> Account:
    with sessions.begin() as session:
        return store.accounts.add_signing_account(session, None, f"the {role}", role, None)


def _is_refused(sessions: Sessions, source: str, file: str | None) -> bool:
    with sessions.read() as session:
        try:
            store.predictable.refuse_still_blind(session, source_sha256=source, file_sha256=file)
        except StillBlindError:
            return True
    return False
