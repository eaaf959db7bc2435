"""The page Audit trail: what was done, by whom, whether anybody changed it, and that files given out are on it."""

import csv
import io
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from db import store
from db.audit.trail import record_event
from db.database import Sessions
from db.errors import NotAllowedError
from db.files import Files
from db.store.audit import verify_for
from db.values.accounts import Role
from db.values.audit import PROGRAM, Action, AuditEvent, EventFilter
from pages.ui import audit, csv_tables, downloads
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.world import PASSWORD, World, make_reader


def events(world: World, *, action: str | None = None) -> list[AuditEvent]:
    with world.sessions.read() as session:
        return store.audit.audit_trail(session, filters=EventFilter(action=action))


def test_events_are_shown_newest_first_and_filtered_by_person_action_and_subject(world: World) -> None:
    world.add_case(1, accession="S26-100")
    world.add_case(2, accession="S26-200")
    tab = visit("audit.py")
    assert {"case added", "image added"} <= {*tab.selectbox(key="audit-action").options}
    assert {one.action for one in events(world)} == {*tab.selectbox(key="audit-action").options}
    shown = tab.dataframe[0].value
    assert list(shown["Case or subject"])[:2] == ["S26-200", "S26-200"]
    assert list(shown["Event"]) == sorted(shown["Event"], reverse=True)
    tab.text_input(key="audit-about").set_value("26-1").run()
    assert set(tab.dataframe[0].value["Case or subject"]) == {"S26-100"}
    tab.selectbox(key="audit-action").set_value("case added").run()
    assert list(tab.dataframe[0].value["Action"]) == ["case added"]
    tab.selectbox(key="audit-person").set_value(PROGRAM).run()
    assert "No event matches these filters" in words_on(tab)


def test_one_hundred_events_stand_on_a_page_and_other_filters_begin_at_the_newest(world: World) -> None:
    with world.sessions.begin() as session:
        for number in range(250):
            record_event(session, world.reader, "tried", f"T-{number:03}")
    tab = visit("audit.py")
    tab.selectbox(key="audit-action").set_value("tried").run()
    assert "1 to 100 of 250 events" in words_on(tab)
    press(tab, "Older")
    press(tab, "Older")
    assert "201 to 250 of 250 events" in words_on(tab)
    assert list(tab.dataframe[0].value["Case or subject"])[-1] == "T-000"
    assert next(button for button in tab.button if button.label == "Older").disabled
    press(tab, "Newer")
    assert "101 to 200 of 250 events" in words_on(tab)
    tab.text_input(key="audit-about").set_value("T-00").run()
    assert "1 to 10 of 10 events" in words_on(tab)


def test_verifying_shows_what_was_done_behind_the_back_and_is_on_the_trail(world: World, tmp_path: Path) -> None:
    world.add_case(1)
    world.analyse()
    tab = press(visit("audit.py"), "Verify")
    assert "No tampering found" in tab.success[0].value
    assert "nothing found" in events(world, action="audit trail verified")[0].subject
    with world.sessions.read() as session:
        engine = create_engine(session.get_bind().engine.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER predictions_no_update")
        connection.exec_driver_sql("UPDATE predictions SET malignant_probability = 0.1")
    engine.dispose()
    tab = press(tab, "Verify")
    assert tab.error[0].value.startswith("2 findings")
    assert {"", "predictions 1"} == set(tab.dataframe[0].value["Row"])
    assert "2 findings" in events(world, action="audit trail verified")[0].subject


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMINISTRATOR], ids=str)
@pytest.mark.usefixtures("quick_passwords")
def test_nobody_but_an_administrator_verifies(sessions: Sessions, role: Role, tmp_path: Path) -> None:
    with sessions.begin() as session:
        by = store.accounts.add_signing_account(session, None, "one", role, PASSWORD)
    told: list[int] = []
    with pytest.raises(NotAllowedError):
        verify_for(sessions, Files(tmp_path), by.id, lambda done, of: told.append(done))
    assert told == []


def test_the_file_of_events_holds_them_all_and_no_formula(world: World) -> None:
    with world.sessions.begin() as session:
        record_event(session, None, "tried", "=1+1")
        make_reader(session, "@dr. b")
    with world.sessions.read() as session:
        found = list(store.audit.all_events(session, world.reader, EventFilter()))
    lines = list(csv.reader(io.StringIO(csv_tables.events_csv(found).data.decode("utf-8-sig"))))
    assert lines[0] == ["event", "at", "account", "action", "subject"]
    assert len(lines) == 1 + len(found)
    assert lines[2][2:] == ["", "tried", "'=1+1"]
    assert lines[1][2:] == ["", "account added", "'@dr. b (reader)"]


def test_a_file_is_given_out_only_with_an_event_that_says_who_and_what(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = downloads.make_and_record(world.reader, "own reads", partial(bytes, b"a,b"))
    assert made == b"a,b"
    newest = events(world)[0]
    assert (newest.account, newest.action, newest.subject) == ("reader", Action.EXPORTED, "own reads")

    def refuse() -> bytes:
        raise OSError("cannot be made")

    with pytest.raises(OSError, match="cannot be made"):
        downloads.make_and_record(world.reader, "figures", refuse)
    assert events(world)[0] == newest


def test_every_file_of_the_pages_goes_through_the_recorded_way() -> None:
    pages = Path(audit.__file__).resolve().parents[1]
    direct = [path.name for path in pages.rglob("*.py") if "download_button(" in path.read_text(encoding="utf-8")]
    # The reports of service.exports record themselves before they send a byte.
    assert sorted(direct) == ["case_report.py", "downloads.py"]
