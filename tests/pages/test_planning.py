"""The page Planning, and what the worklist of a reader makes of it."""

from dataclasses import dataclass

import pytest
from streamlit.testing.v1 import AppTest

from db import store
from db.values.accounts import Account, Role
from db.values.reading import CaseState, Opinion
from tests.helpers.app_pages import press, sign_in, visit, words_on
from tests.helpers.rows import OPENED, stored_image
from tests.helpers.world import PASSWORD, World

pytestmark = pytest.mark.usefixtures("quick_passwords")


@dataclass(frozen=True, slots=True)
class Office:
    """An installation with accounts and three cases."""

    world: World
    accounts: dict[str, Account]
    cases: tuple[int, ...]
    monkeypatch: pytest.MonkeyPatch

    def visit(self, name: str, page: str = "planning.py", **query: str) -> AppTest:
        """Open a page as somebody who has signed in."""
        sign_in(self.monkeypatch, self.world.sessions, name)
        return visit(page, **query)


@pytest.fixture
def office(world: World, monkeypatch: pytest.MonkeyPatch) -> Office:
    """Two readers and an administrator; dr. a has read the first case against the model."""
    cases = tuple(world.add_case(seed) for seed in (1, 2, 3))
    world.analyse(0.8125)
    accounts = {}
    with world.sessions.begin() as session:
        for name, role in (("dr. a", Role.READER), ("dr. b", Role.READER), ("office", Role.ADMINISTRATOR)):
            accounts[name] = store.accounts.add_signing_account(session, None, name, role, PASSWORD)
        reader = accounts["dr. a"].id
        store.reads.record_first_read(session, cases[0], reader, Opinion("benign", 4, note="telltale"), OPENED)
        said = Opinion("benign", 4, note="telltale", reason="quality")
        store.reads.record_final_read(session, cases[0], reader, said, OPENED)
        store.planning.assign(session, accounts["office"].id, cases[:2], reader, active=True)
        store.planning.set_priority(session, accounts["office"].id, cases[1:2], urgent=True)
    return Office(world, accounts, cases, monkeypatch)


def test_an_administrator_sees_an_interrupted_case_and_completes_it_without_the_rest(office: Office) -> None:
    reader = office.accounts["dr. b"].id
    with office.world.sessions.begin() as session:
        case_id = store.cases.add_case(session, reader, accession="S24-1", magnification=None)
        intake = store.intakes.begin_intake(session, reader, case_id, 3)
        image_id = store.cases.add_image(session, case_id, stored_image("first")).image_id
        store.intakes.add_to_intake(session, intake, 1, image_id)
    tab = office.visit("office")
    assert list(tab.dataframe[0].value["State"]) == ["", "", "", "incomplete"]
    words = words_on(tab).replace("\\", "")
    assert "Missing: images 2 to 3 of 3, in upload order" in words
    assert "dr. b can add the missing images" in words
    press(tab, "Complete the case with the 1 image")
    assert office.world.state(reader, case_id) is CaseState.WAITING
    with office.world.sessions.read() as session:
        (event, *_) = store.audit.audit_trail(session)
    assert (event.account, event.action, event.subject) == ("office", "intake ended", "S24-1")


def test_the_plan_shows_who_reads_and_nothing_of_what_was_said(office: Office) -> None:
    tab = office.visit("office")
    table = tab.dataframe[0].value
    assert list(table["Case"]) == ["C-0001", "C-0002", "C-0003"]
    assert list(table["Assigned to"]) == ["dr. a", "dr. a", ""]
    assert list(table["Priority"]) == ["", "urgent", ""]
    assert list(table["Readers finished"]) == [1, 0, 0]
    words = words_on(tab)
    assert not [one for one in ("benign", "malignant", "0.81", "telltale", "discordant") if one in words]
    assert {button.label: button.disabled for button in tab.button} == dict.fromkeys(
        ("Assign", "Unassign", "Urgent", "Routine"), True
    )


def test_the_plan_is_narrowed_by_number_and_by_reader(office: Office) -> None:
    tab = office.visit("office")
    tab.selectbox(key="planning-reader").set_value("no reader yet").run()
    assert list(tab.dataframe[0].value["Case"]) == ["C-0003"]
    tab.selectbox(key="planning-reader").set_value("dr. a").run()
    assert list(tab.dataframe[0].value["Case"]) == ["C-0001", "C-0002"]
    tab.text_input(key="planning-text").set_value("0002").run()
    assert list(tab.dataframe[0].value["Case"]) == ["C-0002"]
    tab.selectbox(key="planning-reader").set_value("dr. b").run()
    assert not tab.dataframe
    assert "No case matches" in words_on(tab)


def test_the_worklist_of_a_reader_follows_the_plan(office: Office) -> None:
    tab = office.visit("dr. a", "worklist.py")
    table = tab.dataframe[0].value
    assert list(table["Case"]) == ["C-0002", "C-0003", "C-0001"]
    assert list(table["Priority"]) == ["urgent", "", ""]
    assert list(table["Reader"]) == ["assigned to you", "", "assigned to you"]
    tab.toggle(key="worklist-mine").set_value(v=True).run()
    assert list(tab.dataframe[0].value["Case"]) == ["C-0002", "C-0001"]
    other = office.visit("dr. b", "worklist.py").dataframe[0].value
    assert list(other["Reader"]) == ["", "assigned to others", "assigned to others"]
    assert list(other["Case"]) == ["C-0003", "C-0002", "C-0001"], "not even what is urgent, if it is for others"
    assert list(other["State"]) == ["to read"] * 3


def test_who_has_a_case_open_is_named_in_the_list_and_above_the_tissue(office: Office) -> None:
    with office.world.sessions.begin() as session:
        store.open_case.open_case(session, office.cases[2], office.accounts["dr. b"].id)
    table = office.visit("dr. a", "worklist.py").dataframe[0].value
    (place,) = [row for row, case in enumerate(table["Case"]) if case == "C-0003"]
    assert table["Reader"][place].startswith("dr. b, open since ")
    assert "also open: dr. b, since" in words_on(office.visit("dr. a", "read_case.py", case="3"))
    mine = office.visit("dr. b", "read_case.py", case="3")
    assert "also open: dr. a, since" in words_on(mine)
    done = words_on(office.visit("dr. a", "read_case.py", case="1"))
    assert "also open" not in done


def test_skipping_lets_go_of_a_case(office: Office) -> None:
    tab = office.visit("dr. b", "read_case.py", case="3")
    press(tab, "Skip to next")
    with office.world.sessions.read() as session:
        assert store.claims.claim_holders(session, 3, office.accounts["dr. a"].id) == ()
