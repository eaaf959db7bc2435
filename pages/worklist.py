"""The cases by state, and which one to read next."""

import streamlit as st

from db import store
from db.values import Action, CaseState
from pages.ui import case_table, resources
from pages.ui.export import reads_csv

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


@st.fragment(run_every=_REFRESH if st.session_state.get("worklist-busy") else None)
def _worklist() -> None:
    reader = resources.account().id
    with resources.sessions().read() as session:
        counts = store.state_counts(session, reader)
        following = store.next_case(session, reader)
    if not sum(counts.values()):
        _empty()
        return
    wanted = case_table.filters(counts)
    with resources.sessions().read() as session:
        rows = store.worklist(
            session, reader, text=wanted.text, states=wanted.states, magnification=wanted.magnification
        )
    read, note = st.columns([1.2, 4], vertical_alignment="center")
    disabled = following is None
    if read.button("Read next", type="primary", shortcut="N", width="stretch", disabled=disabled) and following:
        _open(following)
    note.caption("Nothing is waiting for you." if disabled else "A click on a row opens its case.")
    if not rows:
        st.markdown("No case matches these filters.")
    elif picked := case_table.pick_case(rows):
        _open(picked)
    busy = bool(counts.get(CaseState.WAITING))
    if busy != st.session_state.get("worklist-busy", False):
        st.session_state["worklist-busy"] = busy
        st.rerun()


def _export() -> None:
    reader = resources.account().id
    with resources.sessions().read() as session:
        reads = store.own_reads(session, reader)
        accessions = {row.id: row.accession for row in store.worklist(session, reader)}
    if reads:
        file = reads_csv(reads, accessions)
        st.download_button(
            "My reads as CSV", file.data, file.name, "text/csv", on_click=_record_export, type="tertiary"
        )


def _record_export() -> None:
    reader = resources.account().id
    with resources.sessions().begin() as session:
        store.record_event(session, reader, Action.EXPORTED, "own reads")


_worklist()
_export()
