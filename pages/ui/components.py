"""Components that several pages share: a clickable table, announcements, and common fields and parameters."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ColumnConfig

from core.labels import MAGNIFICATIONS

TABLE_HEIGHT = 480  # px; more rows scroll inside the table

ROW_HEIGHT = 35  # px, of a table
_HEADER_HEIGHT = 38  # px, of a table
_LONGEST_NUMBER = 10  # digits; the ids of a database have fewer
_ANNOUNCEMENT = "what-was-done"  # key of the session state


def table_height(rows: int, most: int = TABLE_HEIGHT, row_height: int = ROW_HEIGHT) -> int:
    """Return the height in pixels at which a table shows all its rows, limited to `most`."""
    return min(_HEADER_HEIGHT + row_height * rows, most)


def draw_clickable_table(
    columns: Mapping[str, Sequence[object]],
    key: str,
    *,
    column_config: Mapping[str, ColumnConfig] | None = None,
    most: int = TABLE_HEIGHT,
    row_height: int = ROW_HEIGHT,
) -> int | None:
    """Draw a table, and return the index of the row that was just clicked; None without a click.

    Args:
        columns: The cells of each column by its name, all of the same length.
        key: Names this table among the elements of the page.
        column_config: The configuration of columns that need one, by name.
        most: Height in pixels above which the rows scroll.
        row_height: Height of a row in pixels.
    """
    # A new key after each click, because the old selection would open its row again when the reader returns.
    count = f"{key}-picked"
    clicks = st.session_state.get(count, 0)
    table = st.dataframe(
        dict(columns),
        column_config=dict(column_config or {}),
        hide_index=True,
        height=table_height(max(map(len, columns.values()), default=0), most, row_height),
        row_height=row_height,
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        key=f"{key}-{clicks}",
    )
    rows = [*table.selection.rows, *(row for row, _ in table.selection.cells)]
    if not rows:
        return None
    st.session_state[count] = clicks + 1
    return rows[0]


def write_thumbnail_address(image_id: int) -> str:
    """Return the address of a thumbnail for a table; relative, because the app may be served under a prefix."""
    return f"images/{image_id}/thumbnail"


def announce(text: str) -> NoReturn:
    """Rerun the page; its `show_announcement` then shows the text once."""
    st.session_state[_ANNOUNCEMENT] = text
    st.rerun()


def show_announcement(*, briefly: bool = False) -> None:
    """Show what was just done, until the next click, or `briefly` in a corner of the screen."""
    text = st.session_state.pop(_ANNOUNCEMENT, "")
    if text and briefly:
        st.toast(text, duration="long")
    elif text:
        st.success(text)


def form_number(form: str) -> int:
    """Return the number to put into the keys of a form's fields: after `empty_form` it is another one."""
    return int(st.session_state.get(f"{form}-number", 0))


def empty_form(form: str) -> None:
    """Let the fields of a form be empty when the page is drawn again, by other keys."""
    st.session_state[f"{form}-number"] = form_number(form) + 1


def number_in_address(name: str) -> int | None:
    """Return the number of a parameter in the page's address: None without it, 0 if it is not a number."""
    value = st.query_params.get(name, "")
    if not value:
        return None
    return int(value) if value.isdecimal() and len(value) < _LONGEST_NUMBER else 0


def ask_case_number(place: DeltaGenerator, page: str) -> str | None:
    """Ask for part of a case number to filter by; None means any case."""
    text = place.text_input(
        "Case number",
        placeholder="Case number",
        label_visibility="collapsed",
        key=f"{page}-text",
        persist_state="session",
    )
    return text.strip() or None


def ask_magnification(
    place: DeltaGenerator, key: str, placeholder: str = "", *, suggested: str | None = None, kept: bool = True
) -> str | None:
    """Ask for a magnification, which may also be a new one; None if none is selected.

    Args:
        place: The container in which the field is drawn.
        key: Names the field among the elements of the page.
        placeholder: Text of the empty field; without it, the field shows its own name and has no label above.
        suggested: The initial selection.
        kept: Whether the selection is kept when the reader visits another page.
    """
    options = list(dict.fromkeys([*MAGNIFICATIONS, *filter(None, [suggested])]))
    magnification = place.selectbox(
        "Magnification",
        options,
        index=options.index(suggested) if suggested else None,
        placeholder=placeholder or "Magnification",
        label_visibility="visible" if placeholder else "collapsed",
        accept_new_options=True,
        key=key,
        persist_state="session" if kept else None,
    )
    return magnification or None
