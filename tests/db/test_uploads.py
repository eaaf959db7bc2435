"""What of the scope of uploads is added up, and for whom."""

import pytest

from db import store, tables
from db.database import Sessions
from db.errors import NotAllowedError
from db.values.accounts import Role
from db.values.uploads import UploadedScope
from tests.helpers.rows import BENIGN, MODEL, NEWER_MODEL, OPENED, out_of_scope, unusual, usual
from tests.helpers.world import add_person, analyse_each, make_case, make_reader


def watched(sessions: Sessions, account_id: int, version: str = MODEL.version) -> list[UploadedScope]:
    with sessions.read() as session:
        return store.uploads.uploaded_scopes(session, account_id, version)


def test_researchers_and_administrators_watch_every_upload_and_readers_none(sessions: Sessions) -> None:
    with sessions.begin() as session:
        people = {role: add_person(session, f"the {role}", role) for role in Role}
        case_id = make_case(session, people[Role.READER], images=3)
    analyse_each(sessions, usual(), unusual(), out_of_scope())
    for role in (Role.RESEARCHER, Role.ADMINISTRATOR):
        found = watched(sessions, people[role])
        assert [one.level for one in found] == ["in", "unusual", "out"]
        assert {one.case_id for one in found} == {case_id}
        assert watched(sessions, people[role], NEWER_MODEL.version) == []
    for role in (Role.READER, Role.ADJUDICATOR):
        with pytest.raises(NotAllowedError):
            watched(sessions, people[role])


def test_the_single_reader_watches_only_the_cases_they_have_read_first(sessions: Sessions) -> None:
    with sessions.begin() as session:
        reader = make_reader(session)
        cases = [make_case(session, reader) for _ in range(2)]
    analyse_each(sessions, out_of_scope(), out_of_scope())
    assert watched(sessions, reader) == []
    with sessions.begin() as session:
        store.reads.record_first_read(session, cases[0], reader, BENIGN, OPENED)
    assert [one.case_id for one in watched(sessions, reader)] == [cases[0]]


def test_generated_cases_are_no_uploads(sessions: Sessions) -> None:
    with sessions.begin() as session:
        reader = add_person(session, "dr. a", Role.READER)
        researcher = add_person(session, "the researcher", Role.RESEARCHER)
        case_id = make_case(session, reader)
        session.get_one(tables.Case, case_id).demonstration = True
    analyse_each(sessions, unusual())
    assert watched(sessions, researcher) == []
