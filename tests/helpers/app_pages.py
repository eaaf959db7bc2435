"""Pages of the app without a browser: opened, looked at and clicked."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

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
