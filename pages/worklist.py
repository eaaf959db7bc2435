"""The cases by state, and the next one to read."""

from functools import partial

import streamlit as st

from db import store
from db.values.reading import CaseState
from db.values.worklist import CaseRow, ListedCase
from pages.ui import downloads, resources, worklist
from pages.ui.csv_tables import TableFile, reads_csv
from pages.ui.paging import Pages
from pages.ui.reading import mode, saved

_IN_ADJUDICATION = (CaseState.DISCORDANT, CaseState.ADJUDICATION, CaseState.RESOLVED)
_REFRESH = "3s"  # while something is being analysed
_PAGES = Pages("worklist", store.worklist.PAGE, ListedCase)


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
    start = _PAGES.end_of_previous(query.without_times())
    with resources.sessions().read() as session:
        page = store.worklist.worklist(
            session,
            reader,
            query.cases,
            order=query.order,
            language=st.context.locale,
            after=start,
        )
    hint = "No cases are waiting for you." if disabled else "Click a row to open its case."
    st.caption(worklist.explain_cut(page) or query.limit or hint)
    if page.rows:
        picked = worklist.draw_case_table(page.rows)
        _PAGES.draw_buttons(len(page.rows), page.last, page.total, "case")
        if picked:
            _open_row(picked)
    elif start is not None:
        _PAGES.show_first()
    else:
        st.markdown("No cases match these filters.")
    busy = bool(counts.get(CaseState.WAITING) or counts.get(CaseState.INCOMPLETE))
    if busy != st.session_state.get("worklist-busy", False):
        st.session_state["worklist-busy"] = busy
        st.rerun()


def _draw_export() -> None:
    reader = resources.account().id
    with resources.sessions().read() as session:
        any_reads = store.reads.has_own_reads(session, reader)
    if any_reads:
        downloads.draw_lazy_download("My reads", "own reads", partial(_make_export, reader), "my-reads.csv")


def _make_export(reader: int) -> TableFile:
    with resources.sessions().read() as session:
        return reads_csv(store.reads.each_own_read(session, reader), store.reads.own_accessions(session, reader))


saved.show_last_saved()
_draw_worklist()
_draw_export()
