"""The cases by state, and which one to read next."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.values import CaseRow, CaseState
from pages.ui import panels, resources

_MAGNIFICATIONS = ("40X", "100X", "200X", "400X")
_REFRESH = "3s"  # while something is being analysed


def _open(case_id: int) -> None:
    st.switch_page("read_case.py", query_params={"case": str(case_id)})


def _empty() -> None:
    st.subheader("No cases yet")
    st.markdown("Bring in images of your own, or try the reading loop on generated tissue first.")
    upload, demo, _ = st.columns([1, 1, 2])
    if upload.button("Upload images", type="primary", width="stretch", shortcut="U"):
        st.switch_page("upload_cases.py")
    if demo.button("Make a demo case", width="stretch"):
        st.switch_page("upload_cases.py", query_params={"demo": "1"})


def _filters(counts: dict[CaseState, int]) -> tuple[list[CaseState], str | None, str]:
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
    return list(states), magnification, text.strip()


def _table(rows: Sequence[CaseRow]) -> None:
    chosen = st.dataframe(
        {
            "case": [row.accession for row in rows],
            "state": [panels.STATE_WORDS[row.state] for row in rows],
            "images": [panels.images_words(row) for row in rows],
            "magnification": [row.magnification or "not said" for row in rows],
            "added": [row.created_at for row in rows],
            "": ["generated demo case" if row.demonstration else "" for row in rows],
        },
        column_config={"added": st.column_config.DatetimeColumn(format="distance")},
        hide_index=True,
        height=min(38 + 35 * len(rows), 480),
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        key="worklist-table",
    )
    picked = [*chosen.selection.rows, *(row for row, _ in chosen.selection.cells)]
    if picked:
        _open(rows[picked[0]].id)


@st.fragment(run_every=_REFRESH if st.session_state.get("worklist-busy") else None)
def _worklist() -> None:
    reader = resources.account().id
    with resources.sessions().read() as session:
        counts = store.state_counts(session, reader)
        following = store.next_case(session, reader)
    if not sum(counts.values()):
        _empty()
        return
    states, magnification, text = _filters(counts)
    with resources.sessions().read() as session:
        rows = store.worklist(
            session, reader, text=text or None, states=states or None, magnification=magnification or None
        )
    read, note = st.columns([1.2, 4], vertical_alignment="center")
    disabled = following is None
    if read.button("Read next", type="primary", shortcut="N", width="stretch", disabled=disabled) and following:
        _open(following)
    note.caption("Nothing is waiting for you." if disabled else "A click on a row opens its case.")
    if rows:
        _table(rows)
    else:
        st.markdown("No case matches these filters.")
    busy = bool(counts.get(CaseState.WAITING))
    if busy != st.session_state.get("worklist-busy", False):
        st.session_state["worklist-busy"] = busy
        st.rerun()


_worklist()
