"""Cases and images come in once, numbered, with their quality and a job each."""

import pytest

from core.results import Quality
from db import store
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions
from db.errors import CaseChangedError, UnknownCaseError
from db.values.accounts import Account, Role
from db.values.jobs import JobState
from db.values.reading import AddedImage
from tests.helpers.concurrency import at_once
from tests.helpers.rows import QUALITY, sha256_of, stored_image
from tests.helpers.world import make_case, make_reader


def accession_of(sessions: Sessions, case_id: int, account_id: int) -> str:
    with sessions.begin() as session:
        return store.open_case.open_case(session, case_id, account_id).accession


def test_a_missing_magnification_is_recorded_once(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = store.cases.add_case(session, account_id, accession="S-1", magnification=None)
        for wrong in ("", "  ", "4\n0X", "x" * 33):
            with pytest.raises(ValueError, match="the magnification"):
                store.cases.set_magnification(session, account_id, case_id, wrong)
        store.cases.set_magnification(session, account_id, case_id, " 40X ")
    with sessions.begin() as session:
        assert store.open_case.case_view(session, case_id, account_id).magnification == "40X"
        with pytest.raises(CaseChangedError, match="is already recorded: 40X"):
            store.cases.set_magnification(session, account_id, case_id, "400X")
        events = [(event.action, event.subject) for event in store.audit.audit_trail(session)]
        assert events[0] == ("magnification set", "S-1: 40X")
        assert store.open_case.case_view(session, case_id, account_id).magnification == "40X"
    assert verify(sessions).whole


def test_the_single_reader_is_made_once(sessions: Sessions) -> None:
    with sessions.begin() as session:
        first = store.accounts.single_reader(session)
    with sessions.begin() as session:
        assert store.accounts.single_reader(session) == first == Account(first.id, "reader", Role.READER)


def test_the_single_reader_is_one_even_when_eight_ask_at_once(sessions: Sessions) -> None:
    def ask(_: int) -> Account:
        with sessions.begin() as session:
            return store.accounts.single_reader(session)

    assert len(set(at_once(8, ask))) == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_an_account_needs_a_name_of_sensible_length(sessions: Sessions, name: str) -> None:
    with sessions.begin() as session, pytest.raises(ValueError, match="1 to 200 visible characters"):
        store.accounts.add_account(session, name, Role.READER)


def test_a_name_is_taken_once_and_the_click_goes_on(sessions: Sessions) -> None:
    with sessions.begin() as session:
        store.accounts.add_account(session, "dr. a", Role.READER)
        with pytest.raises(ValueError, match="there is already an account"):
            store.accounts.add_account(session, " dr. a ", Role.ADJUDICATOR)
        store.accounts.add_account(session, "dr. b", Role.ADJUDICATOR)
        assert store.accounts.account_named(session, "dr. b") == store.accounts.account_named(session, "dr. b")
        assert store.accounts.account_named(session, "dr. c") is None


def test_cases_are_numbered_and_step_over_numbers_that_were_typed(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        store.cases.add_case(session, account_id, accession="C-0002", magnification=None)
        ids = [make_case(session, account_id) for _ in range(3)]
    assert [accession_of(sessions, i, account_id) for i in ids] == ["C-0001", "C-0003", "C-0004"]


def test_twelve_cases_added_at_once_get_twelve_numbers(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)

    def add(_: int) -> int:
        with sessions.begin() as session:
            return store.cases.add_case(session, account_id, accession=" ", magnification=None)

    ids = at_once(12, add)
    accessions = {accession_of(sessions, i, account_id) for i in ids if isinstance(i, int)}
    assert accessions == {f"C-{n:04d}" for n in range(1, 13)}


def test_a_typed_accession_is_kept_and_may_not_be_used_twice(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = store.cases.add_case(session, account_id, accession=" H26-1234 ", magnification=" 40X ")
        with pytest.raises(ValueError, match="already a case H26-1234"):
            store.cases.add_case(session, account_id, accession="H26-1234", magnification=None)
        view = store.open_case.open_case(session, case_id, account_id)
    assert (view.accession, view.magnification) == ("H26-1234", "40X")


@pytest.mark.parametrize(
    ("taken", "again"),
    [
        ("S24-10", "s24-10"),
        ("S24-10", " S24-10\u2009"),
        ("\u00c4-1", "a\u0308-1"),
        ("S24 10", "S24\u00a010"),
        ("Stra\u00dfe 1", "STRASSE 1"),
        ("\uff33\uff12\uff14-1", "S24-1"),
        ("0042", "42"),
    ],
)
def test_a_case_number_is_one_however_it_is_written(sessions: Sessions, taken: str, again: str) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = store.cases.add_case(session, account_id, accession=taken, magnification=None)
        with pytest.raises(ValueError, match=f"there is already a case {taken}"):
            store.cases.add_case(session, account_id, accession=again, magnification=None)
        assert store.studies.find_cases(session, account_id, [again, taken]) == [case_id, case_id]
        other = store.cases.add_case(session, account_id, accession=f"{taken} b", magnification=None)
        with pytest.raises(ValueError, match=f"a case {taken} b, which is the same number as {taken} B"):
            store.cases.add_case(session, account_id, accession=f"{taken} B", magnification=None)
    assert accession_of(sessions, other, account_id) == f"{taken} b"


def test_cases_added_at_once_under_one_number_in_two_spellings_are_one_case(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)

    def add(number: int) -> int:
        with sessions.begin() as session:
            accession = "s24-7" if number % 2 else "S24-7"
            return store.cases.add_case(session, account_id, accession=accession, magnification=None)

    added = at_once(6, add)
    assert sum(isinstance(one, int) for one in added) == 1
    assert sum(isinstance(one, ValueError) for one in added) == 5


@pytest.mark.parametrize(
    ("accession", "magnification", "words"),
    [("x" * 65, None, "at most 64"), ("a\nb", None, "visible"), ("a\x00", None, "visible"), (None, "9" * 33, "32")],
)
def test_words_that_a_column_cannot_hold_are_refused_alike_on_both_databases(
    sessions: Sessions, accession: str | None, magnification: str | None, words: str
) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        with pytest.raises(ValueError, match=words):
            store.cases.add_case(session, account_id, accession=accession, magnification=magnification)


def test_the_longest_words_that_fit_are_kept(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = store.cases.add_case(session, account_id, accession="ü" * 64, magnification="9" * 32)
        view = store.open_case.open_case(session, case_id, account_id)
    assert (view.accession, view.magnification) == ("ü" * 64, "9" * 32)


def test_images_keep_their_order_size_and_quality_and_wait_for_analysis(sessions: Sessions) -> None:
    clean = Quality(812.25, 0.9)
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = make_case(session, account_id, images=0)
        store.cases.add_image(session, case_id, stored_image("one"))
        store.cases.add_image(session, case_id, stored_image("two", clean))
        first, second = store.open_case.open_case(session, case_id, account_id).images
    assert (first.position, second.position) == (1, 2)
    assert (first.quality, second.quality) == (QUALITY, clean)
    assert (first.height, first.width, first.job, first.job_message) == (460, 700, JobState.QUEUED, None)


def test_the_same_bytes_twice_are_recognised_in_any_case(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        first, second = (make_case(session, account_id, images=0) for _ in range(2))
        image = stored_image("one")
        assert store.cases.known_image(session, image.source_sha256) is None
        added = store.cases.add_image(session, first, image)
        assert added.already_in is None
        assert store.cases.add_image(session, first, image) == AddedImage(added.image_id, "C-0001")
        assert store.cases.add_image(session, second, image) == AddedImage(added.image_id, "C-0001")
        assert store.cases.known_image(session, image.source_sha256) == "C-0001"
        assert len(store.open_case.open_case(session, first, account_id).images) == 1
        assert store.jobs.jobs_waiting(session) == 1


def test_the_same_bytes_sent_by_eight_threads_at_once_are_stored_once(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        ids = [make_case(session, account_id, images=0) for _ in range(8)]

    def send(number: int) -> AddedImage:
        with sessions.begin() as session:
            return store.cases.add_image(session, ids[number], stored_image("one"))

    added = [one for one in at_once(8, send) if isinstance(one, AddedImage)]
    assert len(added) == 8
    assert len({one.image_id for one in added}) == 1
    assert sum(one.already_in is None for one in added) == 1


def test_different_images_sent_to_one_case_at_once_all_get_a_place(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = make_case(session, account_id, images=0)

    def send(number: int) -> AddedImage:
        with sessions.begin() as session:
            return store.cases.add_image(session, case_id, stored_image(str(number)))

    at_once(8, send)
    with sessions.begin() as session:
        images = store.open_case.open_case(session, case_id, account_id).images
    assert [image.position for image in images] == list(range(1, 9))


def test_the_magnification_of_the_readers_own_last_case_is_remembered(sessions: Sessions) -> None:
    with sessions.begin() as session:
        mine, other = make_reader(session, "dr. a"), make_reader(session, "dr. b")
        assert store.cases.remembered_magnification(session, mine) is None
        make_case(session, mine, magnification="40X")
        make_case(session, mine, magnification="200X")
        make_case(session, other, magnification="400X")
        store.cases.add_case(session, mine, accession=None, magnification="100X", demonstration=True)
        assert store.cases.remembered_magnification(session, mine) == "200X"


@pytest.mark.parametrize("number", [0, -1, 4711, 2**31, 10**30])
def test_a_number_that_names_nothing_is_refused_in_words(sessions: Sessions, number: int) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        for ask in (
            lambda: store.open_case.open_case(session, number, account_id),
            lambda: store.cases.add_image(session, number, stored_image("one")),
            lambda: store.open_case.image_file(session, number, account_id),
            lambda: store.open_case.heatmap_file(session, number, account_id),
        ):
            with pytest.raises(UnknownCaseError, match="there is no"):
                ask()


def test_the_pixels_of_an_image_are_found_by_any_account_and_by_no_stranger(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        added = store.cases.add_image(session, make_case(session, account_id, images=0), stored_image("one"))
        assert store.open_case.image_file(session, added.image_id, account_id) == sha256_of("pixels of one")
        with pytest.raises(UnknownCaseError, match="no account"):
            store.open_case.image_file(session, added.image_id, account_id + 1)


def test_the_audit_trail_names_who_did_what(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        case_id = make_case(session, account_id)
        store.open_case.open_case(session, case_id, account_id)
        store.open_case.open_case(session, case_id, account_id)
        record_event(session, account_id, "exported", "agreement.csv")
        store.open_case.open_case(session, case_id, account_id)
        record_event(session, None, "worker started", "w")
    with sessions.read() as session:
        events = [(event.account, event.action, event.subject) for event in reversed(store.audit.audit_trail(session))]
        newest = store.audit.audit_trail(session, limit=1)
        of_case = store.audit.audit_trail(session, subject="C-0001")
    assert events == [
        (None, "account added", "dr. a (reader)"),
        ("dr. a", "case added", "C-0001"),
        ("dr. a", "image added", "C-0001"),
        ("dr. a", "case opened", "C-0001"),  # a page drawn again is the same opening
        ("dr. a", "exported", "agreement.csv"),
        ("dr. a", "case opened", "C-0001"),
        (None, "worker started", "w"),
    ]
    assert [event.action for event in newest] == ["worker started"]
    assert len(of_case) == 4
