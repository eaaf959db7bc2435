"""Read one case: a blind first opinion, the reveal, the final opinion, with the tissue beside it."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.errors import UnknownCaseError
from db.values import CaseState, CaseView, Read
from pages.ui import case_header, panels, resources, stages, tissue
from pages.ui.viewer import view_image

_LONGEST_NUMBER = 10  # digits; more is no number that a database gives
_VIEWER_HEIGHT = 640  # px; with the header it fills a screen of 800


def _chosen_case() -> int | None:
    """Give the case of the address, else the one read last in this session, else the next that waits."""
    address = st.query_params.get("case", "")
    if address:
        return int(address) if address.isdecimal() and len(address) < _LONGEST_NUMBER else 0
    if "reading" in st.session_state:
        return int(st.session_state["reading"])
    reader = resources.account().id
    with resources.sessions().read() as session:
        return store.next_case(session, reader)


def _opinion(case: CaseView, reads: Sequence[Read]) -> None:
    if case.first_read is None:
        stages.first_opinion(case)
        return
    stages.unsaved_first_opinion(case)
    if case.final_read is not None:
        stages.saved_opinion(case, reads)
    elif panels.pending(case.images) and not st.session_state.get(f"no-wait-{case.id}"):
        stages.wait_for_model(case)
    else:
        stages.final_opinion(case, case.first_read)


def _nothing_to_read(message: str) -> None:
    st.subheader(message)
    st.markdown("Choose a case in the worklist, or bring in images.")
    st.page_link("worklist.py", label="Worklist")
    st.page_link("upload_cases.py", label="Upload cases")


def _read(case_id: int) -> None:
    reader = resources.account().id
    try:
        with resources.sessions().begin() as session:
            case = store.open_case(session, case_id, reader)
            reads = store.own_reads(session, reader, case_id=case_id)
            counts = store.state_counts(session, reader)
    except UnknownCaseError:
        st.session_state.pop("reading", None)
        _nothing_to_read("There is no such case")
        return
    st.session_state["reading"] = case_id
    if st.query_params.get("case") != str(case_id):
        st.query_params["case"] = str(case_id)
    case_header.header(case, counts.get(CaseState.READY, 0))
    left, right = st.columns([3, 1.15], gap="small", wrap=False)
    with left:
        view_image(tissue.viewed_images(case), key=f"viewer-{case_id}", height=_VIEWER_HEIGHT)
    with right, st.container(key="opinion"):
        _opinion(case, reads)


chosen = _chosen_case()
if chosen is None:
    _nothing_to_read("Nothing is waiting for you")
else:
    _read(chosen)
