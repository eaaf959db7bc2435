"""The cases by state, and which one to read next."""

import streamlit as st

from db import store
from db.values.reading import CaseState
from db.values.worklist import CaseRow
from pages.ui import downloads, resources, worklist
from pages.ui.csv_tables import reads_csv
from pages.ui.reading import mode, saved

_SETTLING = (CaseState.DISCORDANT, CaseState.ADJUDICATION, CaseState.RESOLVED)
_REFRESH = "3s"  # while something is being analysed


def _open(case_id: int, page: str = "read_case.py") -> None:
    st.switch_page(page, query_params={"case": str(case_id)})


def _open_row(row: CaseRow) -> None:
    # An adjudicator who has seen the others' opinions goes on settling the case: it takes no read of theirs.
    _open(row.id, "adjudicate.py" if row.state in _SETTLING and not row.read_to_end else "read_case.py")


def _empty() -> None:
    if resources.reads_in_studies():
        st.page_link("read_study.py", label="Cases of a study that is open are read there")
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
        counts = store.worklist.state_counts(session, reader)
        following = store.worklist.next_case(session, reader)
    if not sum(counts.values()):
        _empty()
        return
    pills, read = st.columns([4, 1], vertical_alignment="center")
    with pills:
        states = worklist.state_pills(counts)
    disabled = following is None
    if read.button("Read next", type="primary", shortcut="N", width="stretch", disabled=disabled) and following:
        mode.forget_passed_over()
        _open(following)
    wanted = worklist.filters(states)
    with resources.sessions().read() as session:
        rows = store.worklist.worklist(session, reader, wanted.cases, order=wanted.order)
    opening = "Nothing is waiting for you." if disabled else "A click on a row opens its case."
    st.caption(wanted.limit or opening)
    if not rows:
        st.markdown("No case matches these filters.")
    elif picked := worklist.pick_case(rows):
        _open_row(picked)
    busy = bool(counts.get(CaseState.WAITING))
    if busy != st.session_state.get("worklist-busy", False):
        st.session_state["worklist-busy"] = busy
        st.rerun()


def _export() -> None:
    reader = resources.account().id
    with resources.sessions().read() as session:
        reads = store.reads.own_reads(session, reader)
        accessions = {row.id: row.accession for row in store.worklist.worklist(session, reader)}
    if reads:
        downloads.offer("My reads as CSV", "own reads", reads_csv(reads, accessions))


saved.show_last_saved()
_worklist()
_export()
