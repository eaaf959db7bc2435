"""The cases by state, and the next one to read."""

import streamlit as st

from db import store
from db.values.reading import CaseState
from db.values.worklist import CaseRow
from pages.ui import downloads, resources, worklist
from pages.ui.csv_tables import reads_csv
from pages.ui.reading import mode, saved

_IN_ADJUDICATION = (CaseState.DISCORDANT, CaseState.ADJUDICATION, CaseState.RESOLVED)
_REFRESH = "3s"  # while something is being analysed


def _open(case_id: int, page: str = "read_case.py") -> None:
    st.switch_page(page, query_params={"case": str(case_id)})


def _open_row(row: CaseRow) -> None:
    # An adjudicator who has seen the readers' opinions continues there: the case takes no read from them.
    _open(row.id, "adjudicate.py" if row.state in _IN_ADJUDICATION and not row.read_to_end else "read_case.py")


def _show_empty() -> None:
    if resources.reads_in_studies():
        st.page_link("read_study.py", label="Read the cases of your open studies on the Study page")
    st.subheader("No cases yet")
    st.markdown("Upload your own images, or try a demo case with generated tissue.")
    upload, demo, _ = st.columns([1, 1, 2])
    if upload.button("Upload images", type="primary", width="stretch", shortcut="U"):
        st.switch_page("upload_cases.py")
    if demo.button("Create a demo case", width="stretch"):
        st.switch_page("upload_cases.py", query_params={"demo": "1"})


@st.fragment(run_every=_REFRESH if st.session_state.get("worklist-busy") else None)
def _draw_worklist() -> None:
    reader = resources.account().id
    with resources.sessions().read() as session:
        counts = store.worklist.state_counts(session, reader)
        following = store.worklist.find_next_case(session, reader)
    if not sum(counts.values()):
        _show_empty()
        return
    pills, read = st.columns([4, 1], vertical_alignment="center")
    with pills:
        states = worklist.ask_states(counts)
    disabled = following is None
    if read.button("Read next", type="primary", shortcut="N", width="stretch", disabled=disabled) and following:
        mode.forget_skipped_cases()
        _open(following)
    query = worklist.ask_filters(states)
    with resources.sessions().read() as session:
        rows = store.worklist.worklist(session, reader, query.cases, order=query.order, language=st.context.locale)
    hint = "No cases are waiting for you." if disabled else "Click a row to open its case."
    st.caption(query.limit or hint)
    if not rows:
        st.markdown("No cases match these filters.")
    elif picked := worklist.draw_case_table(rows):
        _open_row(picked)
    busy = bool(counts.get(CaseState.WAITING) or counts.get(CaseState.INCOMPLETE))
    if busy != st.session_state.get("worklist-busy", False):
        st.session_state["worklist-busy"] = busy
        st.rerun()


def _draw_export() -> None:
    reader = resources.account().id
    with resources.sessions().read() as session:
        reads = store.reads.own_reads(session, reader)
        accessions = {row.id: row.accession for row in store.worklist.worklist(session, reader)}
    if reads:
        downloads.draw_download("My reads", "own reads", reads_csv(reads, accessions))


saved.show_last_saved()
_draw_worklist()
_draw_export()
