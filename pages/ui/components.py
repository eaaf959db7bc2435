"""Parts that several pages share: a table to click on, a notice of what was done, and common fields and numbers."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ColumnConfig

from core.labels import MAGNIFICATIONS

TABLE_HEIGHT = 480  # px; more rows scroll inside the table

_HEAD, _ROW = 38, 35  # px, of a table
_LONGEST_NUMBER = 10  # digits; more is no number that a database gives
_DONE = "what-was-done"


def table_height(rows: int, most: int = TABLE_HEIGHT) -> int:
    """Return the height in pixels at which a table shows all its rows, but at most `most`."""
    return min(_HEAD + _ROW * rows, most)


def draw_clickable_table(
    columns: Mapping[str, Sequence[object]],
    key: str,
    *,
    column_config: Mapping[str, ColumnConfig] | None = None,
    most: int = TABLE_HEIGHT,
) -> int | None:
    """Draw a table, and return the place of the row in which something was just clicked.

    Args:
        columns: The cells of each column by its name, all of the same length.
        key: Names this table among the elements of the page.
        column_config: How some columns are drawn.
        most: Height in pixels above which the rows scroll.
    """
    # A new key after each pick: the old selection would open its row again when the reader comes back.
    count = f"{key}-picked"
    times_picked = st.session_state.get(count, 0)
    chosen = st.dataframe(
        dict(columns),
        column_config=dict(column_config or {}),
        hide_index=True,
        height=table_height(max(map(len, columns.values()), default=0), most),
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        key=f"{key}-{times_picked}",
    )
    picked = [*chosen.selection.rows, *(row for row, _ in chosen.selection.cells)]
    if not picked:
        return None
    st.session_state[count] = times_picked + 1
    return picked[0]


def announce(words: str) -> NoReturn:
    """Draw the page again; its `show_announcement` then says once what was done."""
    st.session_state[_DONE] = words
    st.rerun()


def show_announcement(*, briefly: bool = False) -> None:
    """Say what was just done, until the next click, or `briefly` in a corner of the screen."""
    words = st.session_state.pop(_DONE, "")
    if words and briefly:
        st.toast(words, duration="long")
    elif words:
        st.success(words)


def number_in_address(name: str) -> int | None:
    """Return the number that the address gives under a name: None without one, 0 for what is no number."""
    words = st.query_params.get(name, "")
    if not words:
        return None
    return int(words) if words.isdecimal() and len(words) < _LONGEST_NUMBER else 0


def ask_case_number(place: DeltaGenerator, page: str) -> str | None:
    """Ask for a part of a case number, to filter by; None means any."""
    words = place.text_input(
        "Case number",
        placeholder="Case number",
        label_visibility="collapsed",
        key=f"{page}-text",
        persist_state="session",
    )
    return words.strip() or None


def ask_magnification(
    place: DeltaGenerator, key: str, placeholder: str = "", *, suggested: str | None = None, kept: bool = True
) -> str | None:
    """Ask for a magnification, also one that is not among the usual ones; None if none was chosen.

    Args:
        place: Where the field is drawn.
        key: Names the field among the elements of the page.
        placeholder: What an empty field shows; without one it shows its own name, and no label stands above it.
        suggested: What is chosen at first.
        kept: Whether the choice outlasts a visit to another page.
    """
    options = list(dict.fromkeys([*MAGNIFICATIONS, *filter(None, [suggested])]))
    chosen = place.selectbox(
        "Magnification",
        options,
        index=options.index(suggested) if suggested else None,
        placeholder=placeholder or "Magnification",
        label_visibility="visible" if placeholder else "collapsed",
        accept_new_options=True,
        key=key,
        persist_state="session" if kept else None,
    )
    return chosen or None
