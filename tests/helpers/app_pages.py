"""Pages of the app without a browser: opened, looked at and clicked."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.context import ContextProxy, StreamlitHeaders
from streamlit.testing.v1 import AppTest

from db import store
from db.database import Sessions
from db.store.sign_ins import start_sign_in
from db.values.accounts import Lifetime
from service.access.sessions import COOKIE
from tests.helpers.world import PASSWORD

FRAME = Path(__file__).resolve().parents[2] / "pages" / "frame.py"
# A server looks once through all installed packages for components; a test tab would do it every time.
installed_components = cache(manifest_scanner.scan_component_manifests)


def visit(page: str, **query: str) -> AppTest:
    """Open a page in a new browser tab."""
    return visit_from(Place(), page, **query)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a browser stands: its time zone and its language."""

    time_zone: str | None = None
    language: str | None = None


def visit_from(place: Place, page: str, **query: str) -> AppTest:
    """Open a page in a new tab of a browser that stands somewhere."""
    tab = AppTest.from_file(str(FRAME), default_timeout=30)
    tab.context = {"timezone": place.time_zone, "locale": place.language}
    tab.switch_page(str(FRAME.parent / page))
    for name, value in query.items():
        tab.query_params[name] = value
    tab.run()
    assert not tab.exception, tab.exception
    return tab


def open_case(case_id: int) -> AppTest:
    """Open a case in a new tab, to be read."""
    return visit("read_case.py", case=str(case_id))


def sign_in(monkeypatch: pytest.MonkeyPatch, sessions: Sessions, name: str) -> None:
    """Sign in with the password of all tests: from now on the browser sends this cookie."""
    with sessions.begin() as session:
        recognised = store.accounts.account_with_password(session, name, PASSWORD)
        assert recognised is not None
        secret = start_sign_in(session, recognised, Lifetime())
    sent = StreamlitHeaders([("Cookie", f"{COOKIE}={secret}")])
    # A tab of these tests has no websocket on which a cookie could come.
    monkeypatch.setattr(ContextProxy, "headers", sent)


def words_on(tab: AppTest) -> str:
    """Return everything that was sent to the browser, as text: what is drawn and what only waits to be drawn."""
    found = [str(node.proto) for node in tab.main]
    frames = [str(frame.value.to_dict()) for frame in tab.dataframe]
    return "\n".join([*found, *frames])


def press(tab: AppTest, *words: str) -> AppTest:
    """Press buttons one after the other, each in a round trip of its own."""
    for each in words:
        found = next(button for button in tab.button if button.label.startswith(each))
        found.click().run()
        assert not tab.exception, tab.exception
    return tab


def forget_cached() -> None:
    """Empty the caches of Streamlit, which outlive a test."""
    st.cache_resource.clear()
    st.cache_data.clear()
