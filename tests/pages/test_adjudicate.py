"""The page of adjudication: blind first, then the others without names, a consensus, and the sign-off."""

from dataclasses import dataclass, replace

import pytest
from streamlit.testing.v1 import AppTest

from db import store
from db.values.accounts import Account, Role
from db.values.adjudication import Severity
from db.values.reading import Opinion
from tests.helpers.app_pages import press, sign_in, visit, words_on
from tests.helpers.rows import OPENED, RULING, SAYS_BENIGN, SAYS_MALIGNANT
from tests.helpers.world import PASSWORD, World, let_all_meet_the_model

pytestmark = pytest.mark.usefixtures("quick_passwords")

# What the readers and the model said, and who they are.
_TELLTALES = ("dr. ann", "dr. bob", "atypia", "readers differ", "Reader A", "telltale network", "0.81", "/heatmap")


@dataclass(frozen=True, slots=True)
class Court:
    """An installation with accounts, in which somebody is signed in."""

    world: World
    case_id: int
    accounts: dict[str, Account]
    monkeypatch: pytest.MonkeyPatch

    def add_case(self, seed: int) -> int:
        """Take in another case, and analyse it."""
        world = replace(self.world, readers=(self.accounts["dr. ann"].id,))
        case_id = world.add_case(seed)
        world.analyse(0.8125)
        return case_id

    def read(self, name: str, said: Opinion, case_id: int | None = None) -> None:
        """Read the case to the end."""
        case, reader = case_id or self.case_id, self.accounts[name].id
        with self.world.sessions.begin() as session:
            store.reads.record_first_read(session, case, reader, replace(said, reason=None), OPENED)
            store.reads.record_final_read(session, case, reader, said, OPENED)

    def be(self, name: str) -> None:
        """Sign in: from now on the browser sends this cookie."""
        sign_in(self.monkeypatch, self.world.sessions, name)

    def visit(self, name: str, page: str = "adjudicate.py", **query: str) -> AppTest:
        """Open a page as somebody who has signed in."""
        self.be(name)
        return visit(page, **query)


@pytest.fixture
def court(world: World, monkeypatch: pytest.MonkeyPatch) -> Court:
    """One case on which two readers differ, and two adjudicators."""
    case_id = world.add_case(1)
    world.analyse(0.8125)
    accounts = {}
    with world.sessions.begin() as session:
        for name, role in (
            ("dr. ann", Role.READER),
            ("dr. bob", Role.READER),
            ("prof. c", Role.ADJUDICATOR),
            ("prof. d", Role.ADJUDICATOR),
        ):
            accounts[name] = store.accounts.add_signing_account(session, None, name, role, PASSWORD)
    let_all_meet_the_model(world.sessions)
    made = Court(world, case_id, accounts, monkeypatch)
    made.read("dr. ann", SAYS_MALIGNANT)
    made.read("dr. bob", SAYS_BENIGN)
    return made


def at_the_case(court: Court, name: str = "prof. c") -> AppTest:
    return court.visit(name, case=str(court.case_id))


def read_blind(court: Court, name: str = "prof. c") -> AppTest:
    return press(at_the_case(court, name), "▲", "4", "Save and show")


def test_the_list_names_the_cases_and_nothing_that_was_said(court: Court) -> None:
    tab = court.visit("prof. c")
    words = words_on(tab)
    assert "C-0001" in words
    assert not [telltale for telltale in (*_TELLTALES, "benign", "malignant") if telltale in words]
    press(tab, "Adjudicate next")
    assert tab.query_params["case"] == ["1"] or tab.query_params["case"] == "1"


def test_before_the_blind_read_nothing_of_the_others_or_the_model_is_sent(court: Court) -> None:
    tab = at_the_case(court)
    press(tab, "▲", "5")
    words = words_on(tab)
    assert "/images/1" in words, "the tissue itself is there"
    assert "ADJUDICATION" in words
    assert not [telltale for telltale in _TELLTALES if telltale in words]


def test_after_it_all_is_there_without_a_name(court: Court) -> None:
    words = words_on(read_blind(court))
    assert not [said for said in _TELLTALES[2:] if said.lower() not in words.lower()]
    assert "dr. ann" not in words
    assert "dr. bob" not in words


def test_the_whole_way_to_a_signed_case(court: Court) -> None:
    tab = read_blind(court)
    press(tab, "Save consensus")
    assert "Choose one of the answers" in tab.error[0].value
    press(tab, "▲", "5", "Save consensus")
    assert "Choose a severity" in tab.error[0].value
    tab.text_area[0].set_value("invasive at the left edge")
    press(tab, "Major", "Save consensus")
    with court.world.sessions.begin() as session:
        seen = store.adjudication.open_adjudication(session, court.case_id, court.accounts["prof. c"].id)
    assert seen.consensus is not None
    assert (seen.consensus.label, seen.consensus.confidence, seen.consensus.severity) == (
        "malignant",
        5,
        Severity.MAJOR,
    )
    assert seen.consensus.note == "invasive at the left edge"
    press(tab, "Sign off the case")
    assert "no further opinions can be saved" in words_on(tab)
    press(tab, "Yes, sign it off")
    assert "Signed off" in words_on(tab)
    press(tab, "Next case")
    assert "No cases are waiting" in tab.subheader[0].value


def test_who_comes_too_late_keeps_what_was_typed(court: Court) -> None:
    late = read_blind(court, "prof. d")
    press(late, "○", "3", "Minor")
    late.text_area[0].set_value("I see it otherwise")
    adjudicator = court.accounts["prof. c"].id
    with court.world.sessions.begin() as session:
        store.reads.record_first_read(session, court.case_id, adjudicator, SAYS_MALIGNANT, OPENED)
    with court.world.sessions.begin() as session:
        seen = [
            read.read_id for read in store.adjudication.open_adjudication(session, court.case_id, adjudicator).reads
        ]
        store.adjudication.record_consensus(session, court.case_id, adjudicator, RULING, OPENED, seen=seen)
    court.be("prof. d")
    press(late, "Save consensus")
    assert "severity major" in words_on(late)
    assert "I see it otherwise" in late.warning[0].value


def test_a_case_that_waits_for_nobody_says_so(court: Court) -> None:
    settled = court.add_case(2)
    for address in (str(settled), "999", "abc"):
        assert "cannot be adjudicated" in court.visit("prof. c", case=address).subheader[0].value


def test_a_reader_has_no_such_page(court: Court) -> None:
    words = words_on(court.visit("dr. ann", case=str(court.case_id)))
    assert "Adjudicate next" not in words
    assert "Reader B" not in words


def test_an_adjudicator_who_saw_the_others_is_sent_back_to_the_adjudication(court: Court) -> None:
    read_blind(court)
    words = words_on(court.visit("prof. c", "read_case.py", case=str(court.case_id)))
    assert "Continue as its adjudicator" in words
    assert "Final opinion" not in words


def test_a_reader_sees_why_a_case_cannot_be_signed_yet_and_what_was_settled(court: Court) -> None:
    words = words_on(court.visit("dr. ann", "read_case.py", case=str(court.case_id)))
    assert "Waiting for adjudication" in words
    assert "Label to sign off" not in words


def test_a_reader_signs_and_amends_beside_the_tissue(court: Court) -> None:
    agreed = court.add_case(2)
    for name in ("dr. ann", "dr. bob"):
        court.read(name, SAYS_MALIGNANT, agreed)
    tab = court.visit("dr. ann", "read_case.py", case=str(agreed))
    press(tab, "Sign off the case", "Yes, sign it off")
    assert not [one for one in tab.toggle if one.label == "Amend final opinion"]
    press(tab, "Amend the sign-off", "○", "Save amendment")
    assert "Enter a reason" in tab.error[0].value
    stale = court.visit("dr. bob", "read_case.py", case=str(agreed))
    press(stale, "Amend the sign-off", "◇")
    stale.text_area[1].set_value("the block was mixed up")
    court.be("dr. ann")
    tab.text_area[1].set_value("immunohistochemistry came back")
    press(tab, "Save amendment")
    words = words_on(tab)
    assert "version 2" in words
    assert "reason: immunohistochemistry came back" in words
    court.be("dr. bob")
    press(stale, "Save amendment")
    assert "dr. ann has since saved version 2" in stale.error[0].value
    press(stale, "Show saved version")
    assert stale.text_area[1].value == "the block was mixed up"
    press(stale, "Save amendment")
    assert "Amended, version 3" in words_on(stale)


def test_a_reader_of_a_signed_case_is_asked_for_nothing_and_told_nothing(court: Court) -> None:
    agreed = court.add_case(2)
    court.read("dr. ann", SAYS_MALIGNANT, agreed)
    tab = court.visit("dr. ann", "read_case.py", case=str(agreed))
    press(tab, "Sign off the case", "Yes, sign it off")
    words = words_on(court.visit("dr. bob", "read_case.py", case=str(agreed)))
    assert "signed off without your opinion" in words
    assert "▲ malignant" not in words
    assert "Save and reveal" not in words
