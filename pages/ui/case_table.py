"""The table of the worklist and what narrows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from db.values import CaseRow, CaseState
from pages.ui import panels

_MAGNIFICATIONS = ("40X", "100X", "200X", "400X")


@dataclass(frozen=True, slots=True)
class Filters:
    """What the reader wants to see; None means everything."""

    states: list[CaseState] | None
    magnification: str | None
    text: str | None


def filters(counts: Mapping[CaseState, int]) -> Filters:
    """Draw the number of cases in each state, which are filters too, and the other filters."""
    left, middle, right = st.columns([5, 1.3, 1.7], vertical_alignment="bottom")
    states = left.pills(
        "State",
        list(panels.STATE_WORDS),
        selection_mode="multi",
        format_func=lambda state: f"{counts.get(state, 0)} {panels.STATE_WORDS[state]}",
        label_visibility="collapsed",
        key="worklist-states",
        persist_state="session",
    )
    magnification = middle.selectbox(
        "Magnification",
        _MAGNIFICATIONS,
        index=None,
        placeholder="magnification",
        label_visibility="collapsed",
        key="worklist-magnification",
        accept_new_options=True,
        persist_state="session",
    )
    text = right.text_input(
        "Case number",
        placeholder="case number",
        label_visibility="collapsed",
        key="worklist-text",
        persist_state="session",
    )
    return Filters(list(states) or None, magnification or None, text.strip() or None)


def pick_case(rows: Sequence[CaseRow]) -> int | None:
    """Draw the cases; a click anywhere in a row gives its case."""
    # A new key after each pick: the old selection would open its case again when the reader comes back.
    times_picked = st.session_state.get("worklist-picked", 0)
    chosen = st.dataframe(
        {
            "case": [row.accession for row in rows],
            "state": [panels.STATE_WORDS[row.state] for row in rows],
            "images": [panels.images_words(row) for row in rows],
            "magnification": [row.magnification or "not said" for row in rows],
            "added": [row.created_at for row in rows],
            "kind": ["generated demo case" if row.demonstration else "uploaded" for row in rows],
        },
        column_config={"added": st.column_config.DatetimeColumn(format="distance")},
        hide_index=True,
        height=min(38 + 35 * len(rows), 480),
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        key=f"worklist-table-{times_picked}",
    )
    picked = [*chosen.selection.rows, *(row for row, _ in chosen.selection.cells)]
    if not picked:
        return None
    st.session_state["worklist-picked"] = times_picked + 1
    return rows[picked[0]].id
