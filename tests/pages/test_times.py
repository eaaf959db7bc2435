"""Times on pages: all in the time zone of the reader's browser, which every page names."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from db import store
from tests.helpers.app_pages import Place, visit, visit_from, words_on
from tests.helpers.rows import BENIGN, OPENED
from tests.helpers.world import World

TOKYO = Place("Asia/Tokyo", "ja-JP")


@pytest.fixture(params=["Asia/Tokyo", "America/St_Johns"])
def server_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server whose own clock shows another zone than UTC."""
    zone = str(request.param)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    yield zone
    monkeypatch.undo()
    time.tzset()


def shown_times(words: str) -> set[str]:
    """Return the hours of all dates with a time."""
    return set(re.findall(r"\d{4}-\d\d-\d\d (\d\d):\d\d", words))


@pytest.mark.parametrize("page", ["worklist.py", "upload_cases.py", "evaluation.py", "models.py", "audit.py"])
def test_every_page_names_the_time_zone_of_the_browser(world: World, page: str) -> None:
    assert "times: Asia/Tokyo" in words_on(visit_from(TOKYO, page))
    assert "times: UTC" in words_on(visit(page))


@pytest.mark.usefixtures("server_zone")
@pytest.mark.parametrize(("place", "zone"), [(TOKYO, "Asia/Tokyo"), (Place(), "UTC"), (Place("no/such"), "UTC")])
def test_the_worklist_shows_its_times_in_the_zone_of_the_browser(world: World, place: Place, zone: str) -> None:
    world.add_case(1)
    (frame,) = visit_from(place, "worklist.py").dataframe
    assert f'"timezone": "{zone}"' in frame.proto.columns


@pytest.mark.usefixtures("server_zone")
def test_what_was_saved_is_shown_in_the_zone_of_the_browser(world: World) -> None:
    case_id = world.add_case(1)
    world.analyse(0.2)
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, case_id, world.reader, BENIGN, OPENED)
        read = store.reads.record_final_read(session, case_id, world.reader, BENIGN, OPENED)
    saved_in_tokyo = read.saved_at.astimezone(UTC) + timedelta(hours=9)
    words = words_on(visit_from(TOKYO, "read_case.py", case=str(case_id)))
    assert f"{saved_in_tokyo:%Y-%m-%d %H:%M:%S}" in words
    assert shown_times(words) <= {f"{saved_in_tokyo:%H}"}


@pytest.mark.usefixtures("server_zone")
def test_the_audit_trail_lists_and_filters_by_the_days_of_the_browser(world: World) -> None:
    world.add_case(1)
    tab = visit_from(TOKYO, "audit.py")
    with world.sessions.read() as session:
        newest = store.audit.audit_trail(session)[0]
    there = newest.at.astimezone(UTC) + timedelta(hours=9)
    assert tab.dataframe[0].value.iloc[0, 1] == f"{there:%Y-%m-%d %H:%M:%S}"
    tab.date_input(key="audit-days").set_value((there.date(), there.date())).run()
    assert tab.dataframe
    day_before = there.date() - timedelta(days=1)
    tab.date_input(key="audit-days").set_value((day_before, day_before)).run()
    assert "No event matches these filters" in words_on(tab)


def _page() -> None:
    import streamlit as st  # noqa: PLC0415 - AppTest runs this body alone

    from pages.ui import times  # noqa: PLC0415

    st.text(times.localise_message("saved (benign, 2026-01-31 23:30:05 UTC); closed on 2026-02-01 00:00 UTC, in UTC"))


@pytest.mark.usefixtures("server_zone")
@pytest.mark.parametrize(
    ("place", "words"),
    [
        (TOKYO, "saved (benign, 2026-02-01 08:30:05); closed on 2026-02-01 09:00, in UTC"),
        (Place(), "saved (benign, 2026-01-31 23:30:05); closed on 2026-02-01 00:00, in UTC"),
    ],
)
def test_times_in_a_message_of_the_store_are_those_of_the_page(place: Place, words: str) -> None:
    tab = AppTest.from_function(_page)
    tab.context = {"timezone": place.time_zone}
    assert tab.run().text[0].value == words
