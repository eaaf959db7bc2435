"""The worklist says how far each case has come for one reader, and what to read next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import event, insert

from core.results import Analysis
from db import store, tables
from db.database import Sessions
from db.projection.write import rebuild
from db.queries.listed_cases import FEW
from db.store.worklist import case_state
from db.values.jobs import JobState
from db.values.reading import CaseState, Opinion, Stage
from db.values.worklist import CaseFilter, CaseOrder
from tests.helpers.rows import BENIGN, MALIGNANT, MODEL, OPENED, QUALITY, sha256_of, stored_image
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import analyse_all, claim_job, make_case, make_reader, ready_case

SURE = replace(MALIGNANT, confidence=4)
UNREADABLE = Analysis(460, 700, QUALITY, reason="the image is blank")


def one_case_of_each_state(sessions: Sessions) -> tuple[int, dict[CaseState, int]]:
    """Make a reader and a case in every state that one reader alone can bring about."""
    with sessions.begin() as session:
        account_id = make_reader(session)
        unreadable = make_case(session, account_id)
    analyse_all(sessions, result=UNREADABLE)
    with sessions.begin() as session:
        final, discordant, revealed, ready, opened = (make_case(session, account_id, images=2) for _ in range(5))
    analyse_all(sessions, 0.8)
    with sessions.begin() as session:
        for case_id in (final, discordant, revealed):
            store.reads.record_first_read(session, case_id, account_id, BENIGN, OPENED)
        store.reads.record_final_read(session, final, account_id, SURE, OPENED)
        store.reads.record_final_read(session, discordant, account_id, replace(BENIGN, reason="quality"), OPENED)
        waiting, first = (make_case(session, account_id) for _ in range(2))
        store.reads.record_first_read(session, first, account_id, BENIGN, OPENED)
        assert store.open_case.open_case(session, opened, account_id).state is CaseState.IN_READING
    return account_id, {
        CaseState.UNREADABLE: unreadable,
        CaseState.FINAL: final,
        CaseState.DISCORDANT: discordant,
        CaseState.REVEALED: revealed,
        CaseState.READY: ready,
        CaseState.IN_READING: opened,
        CaseState.WAITING: waiting,
        CaseState.FIRST_READ: first,
    }


def test_every_state_is_recognised_in_the_list_the_counts_and_the_case_itself(sessions: Sessions) -> None:
    account_id, cases = one_case_of_each_state(sessions)
    with sessions.begin() as session:
        rows = whole_worklist(session, account_id)
        assert {row.state: row.id for row in rows} == cases
        assert store.worklist.state_counts(session, account_id) == dict.fromkeys(CaseState, 0) | dict.fromkeys(cases, 1)
        assert {case_state(session, i, account_id): i for i in cases.values()} == cases


def test_the_list_is_in_the_order_of_work(sessions: Sessions) -> None:
    account_id, _ = one_case_of_each_state(sessions)
    with sessions.read() as session:
        states = [row.state.value for row in whole_worklist(session, account_id)]
    assert states == [
        "ready",
        "in reading",
        "revealed",
        "first read",
        "waiting",
        "unreadable",
        "discordant",
        "final",
    ]


def test_another_reader_sees_only_what_may_be_known_without_reading(sessions: Sessions) -> None:
    one_case_of_each_state(sessions)
    with sessions.begin() as session:
        counts = store.worklist.state_counts(session, make_reader(session, "dr. b"))
    expected = {CaseState.READY: 5, CaseState.WAITING: 2, CaseState.UNREADABLE: 1}
    assert counts == dict.fromkeys(CaseState, 0) | expected


def test_an_empty_list_counts_nothing_and_has_no_next_case(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        make_case(session, account_id, images=0)
        assert whole_worklist(session, account_id) == []
        assert store.worklist.state_counts(session, account_id) == dict.fromkeys(CaseState, 0)
        assert store.worklist.find_next_case(session, account_id) is None


def test_a_row_counts_images_and_those_whose_analysis_is_over(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = make_case(session, account_id, images=3)
    for succeeds in (True, False):
        job = claim_job(sessions)
        assert job is not None
        with sessions.begin() as session:
            if succeeds:
                nothing = UNREADABLE
                store.jobs.finish_job(session, job, "w", nothing, model=MODEL, heatmap=None)
            else:
                store.jobs.fail_job(session, job, "w", "damaged")
    with sessions.read() as session:
        (row,) = whole_worklist(session, account_id)
    assert (row.id, row.images, row.analysed, row.state) == (case_id, 3, 2, CaseState.WAITING)
    assert (row.accession, row.magnification, row.demonstration) == ("C-0001", "100X", False)
    assert row.created_at.tzinfo is UTC


def test_one_readable_image_makes_a_case_ready(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    with sessions.begin() as session:
        store.cases.add_image(session, reader.case_id, stored_image("blank"))
    analyse_all(sessions, result=UNREADABLE)
    with sessions.read() as session:
        assert whole_worklist(session, reader.account_id)[0].state is CaseState.READY


@pytest.mark.parametrize("opinion", [Opinion(None, None), SURE])
def test_cannot_assess_and_agreement_are_final_and_not_discordant(sessions: Sessions, opinion: Opinion) -> None:
    reader = ready_case(sessions, malignant=0.8)
    with sessions.begin() as session:
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
        store.reads.record_final_read(session, reader.case_id, reader.account_id, opinion, OPENED)
        assert whole_worklist(session, reader.account_id)[0].state is CaseState.FINAL


def test_an_amendment_moves_a_case_between_final_and_discordant(sessions: Sessions) -> None:
    reader = ready_case(sessions, malignant=0.8)
    with sessions.begin() as session:
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
        store.reads.record_final_read(session, reader.case_id, reader.account_id, SURE, OPENED)
    for opinion, state in ((replace(BENIGN, reason="quality"), CaseState.DISCORDANT), (SURE, CaseState.FINAL)):
        with sessions.begin() as session:
            store.reads.amend_read(session, reader.case_id, reader.account_id, opinion, OPENED)
            rows = whole_worklist(session, reader.account_id)
        assert [row.state for row in rows] == [state]


def test_the_list_is_filtered_by_text_state_and_magnification(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        for accession, magnification in (("H26-100%", "40X"), ("h26-1000", "100X"), ("B_1", "40X"), ("BX1", None)):
            case_id = store.cases.add_case(session, account_id, accession=accession, magnification=magnification)
            store.cases.add_image(session, case_id, stored_image(accession))

        def found(wanted: CaseFilter) -> list[str]:
            return [row.accession for row in whole_worklist(session, account_id, wanted)]

        assert found(CaseFilter(text=" h26 ")) == ["H26-100%", "h26-1000"]
        assert found(CaseFilter(text="100%")) == ["H26-100%"]
        assert found(CaseFilter(text="b_")) == ["B_1"]
        assert found(CaseFilter(text="")) == ["H26-100%", "h26-1000", "B_1", "BX1"]
        assert found(CaseFilter(magnification="40X")) == ["H26-100%", "B_1"]
        assert found(CaseFilter(text="h26", magnification="100X")) == ["h26-1000"]
        assert found(CaseFilter(states=[CaseState.READY])) == []
        assert len(found(CaseFilter(states=[CaseState.READY, CaseState.WAITING]))) == 4
        assert found(CaseFilter(states=[])) == []


def test_the_list_is_filtered_by_the_day_a_case_was_added(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    with sessions.read() as session:
        (row,) = whole_worklist(session, reader.account_id)
        moment, later = row.created_at, row.created_at + timedelta(microseconds=1)
        wanted = {
            CaseFilter(since=moment): 1,
            CaseFilter(since=later): 0,
            CaseFilter(until=moment): 0,
            CaseFilter(until=later): 1,
        }
        assert {one: len(whole_worklist(session, reader.account_id, one)) for one in wanted} == wanted
    with pytest.raises(ValueError, match="time zone"):
        CaseFilter(since=datetime(2026, 3, 1))  # noqa: DTZ001


def test_the_list_is_sorted_by_age_and_by_number(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        for accession in ("b", "C", "a"):
            case_id = store.cases.add_case(session, account_id, accession=accession, magnification=None)
            store.cases.add_image(session, case_id, stored_image(accession))

        def found(order: CaseOrder) -> str:
            return "".join(row.accession for row in whole_worklist(session, account_id, order=order))

        assert found(CaseOrder.OLDEST) == "bCa"
        assert found(CaseOrder.NEWEST) == "aCb"
        assert found(CaseOrder.ACCESSION) == "abC"


def test_case_numbers_are_sorted_as_the_reader_counts_and_spells(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        for accession in ("Z-1", "S24-10", "Ä-1", "s24-3", "S24-2", "S24-1"):
            case_id = store.cases.add_case(session, account_id, accession=accession, magnification=None)
            store.cases.add_image(session, case_id, stored_image(accession))

        def found(language: str | None) -> list[str]:
            rows = whole_worklist(session, account_id, order=CaseOrder.ACCESSION, language=language)
            return [row.accession for row in rows]

        assert found("de-DE") == ["Ä-1", "S24-1", "S24-2", "s24-3", "S24-10", "Z-1"]
        assert found(None) == found("de-DE")
        assert found("sv") == ["S24-1", "S24-2", "s24-3", "S24-10", "Z-1", "Ä-1"]


@pytest.mark.parametrize("text", ["ä-1", "Ä-1", "A\N{COMBINING DIAERESIS}-1", " ä"])
def test_a_letter_is_found_in_either_case_however_it_was_typed(sessions: Sessions, text: str) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        for accession in ("Ä-1", "ä-10", "A-1", "Ж-1"):
            case_id = store.cases.add_case(session, account_id, accession=accession, magnification=None)
            store.cases.add_image(session, case_id, stored_image(accession))
        found = whole_worklist(session, account_id, CaseFilter(text=text))
        assert [row.accession for row in found] == ["Ä-1", "ä-10"]
        (other,) = whole_worklist(session, account_id, CaseFilter(text="ж"))
        assert other.accession == "Ж-1"


def test_the_oldest_ready_case_is_next_and_then_what_was_left_half_read(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        one, two, three = (make_case(session, account_id) for _ in range(3))
    analyse_all(sessions)
    with sessions.begin() as session:
        assert store.worklist.find_next_case(session, account_id) == one
        assert store.worklist.find_next_case(session, account_id, after=one) == two
        assert store.worklist.find_next_case(session, account_id, after=two) == three
        assert store.worklist.find_next_case(session, account_id, after=three) == one
        store.reads.record_first_read(session, one, account_id, BENIGN, OPENED)
        assert store.worklist.find_next_case(session, account_id) == two
        for case_id in (two, three):
            store.reads.record_first_read(session, case_id, account_id, BENIGN, OPENED)
            store.reads.record_final_read(session, case_id, account_id, MALIGNANT, OPENED)
        assert store.worklist.find_next_case(session, account_id) == one
        assert store.worklist.find_next_case(session, account_id, after=one) is None


def test_a_long_list_is_right_and_takes_as_many_queries_as_one_half_as_long(sessions: Sessions) -> None:
    asked: list[int] = []
    for cases in (FEW + 200, 2 * (FEW + 200)):
        first = cases - FEW - 200 + 1 if asked else 1
        with sessions.begin() as session:
            account_id = make_reader(session, f"dr. {cases}")
            now, numbers = datetime.now(UTC), range(first, cases + 1)
            session.execute(insert(tables.Case), [_case_values(n, account_id, now) for n in numbers])
            session.execute(insert(tables.Image), [_image_values(n, now) for n in numbers])
            session.execute(insert(tables.Job), [_job_values(n, now) for n in numbers])
            session.execute(insert(tables.Read), [_read_values(n, account_id, now) for n in range(4, cases + 1, 4)])
            rebuild(session)
        with sessions.read() as session:
            statements: list[str] = []
            note = partial(_note_statement, statements)
            event.listen(session.get_bind(), "before_cursor_execute", note)
            page = store.worklist.worklist(session, account_id)
            counts = store.worklist.state_counts(session, account_id)
            following = store.worklist.find_next_case(session, account_id)
            event.remove(session.get_bind(), "before_cursor_execute", note)
            rows = whole_worklist(session, account_id, size=500)
        asked.append(sum(one.startswith("SELECT") for one in statements))
        assert page.total == len(rows) == len({row.id for row in rows}) == cases
        expected = {CaseState.REVEALED: cases // 4, CaseState.UNREADABLE: cases // 4, CaseState.WAITING: cases // 2}
        assert counts == dict.fromkeys(CaseState, 0) | expected
        assert following == 4
        assert [row.id for row in page.rows] == [row.id for row in rows[:50]] == list(range(4, 204, 4))
    assert asked[0] == asked[1] < 25


def _note_statement(statements: list[str], *args: object) -> None:
    statements.append(str(args[2]))


def _case_values(number: int, account_id: int, now: datetime) -> dict[str, object]:
    return {
        "id": number,
        "accession": f"X-{number}",
        "demonstration": False,
        "created_by_id": account_id,
        "created_at": now,
    }


def _image_values(number: int, now: datetime) -> dict[str, object]:
    return {
        "id": number,
        "case_id": number,
        "position": 1,
        "source_sha256": sha256_of(str(number)),
        "file_sha256": sha256_of(str(number)),
        "height": 460,
        "width": 700,
        "sharpness": 1.0,
        "tissue_fraction": 0.5,
        "findings": [],
        "added_at": now,
    }


def _job_values(number: int, now: datetime) -> dict[str, object]:
    state = JobState.QUEUED if number % 2 else JobState.FAILED
    return {"id": number, "image_id": number, "state": state, "attempts": 0, "queued_at": now}


def _read_values(number: int, account_id: int, now: datetime) -> dict[str, object]:
    return {
        "case_id": number,
        "account_id": account_id,
        "stage": Stage.FIRST,
        "label": "benign",
        "confidence": 3,
        "note": "",
        "model_visible": False,
        "opened_at": now,
        "saved_at": now,
    }
