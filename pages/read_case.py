"""Read one case: a blind first opinion, the reveal, the final opinion, with the tissue beside it."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.errors import UnknownCaseError
from db.values import CaseState, CaseView, Read
from pages.ui import panels, resources, stages, tissue
from pages.ui.viewer import view_image

_VIEWER_HEIGHT = 590  # px; with the header it fills a screen of 800
_POLL = "2s"
_KEYS = """
| key | does |
|---|---|
| **B** **M** **X** | benign, malignant, cannot assess |
| **1** … **5** | confidence, from a guess to certain |
| **Enter** | save; from inside the note **Ctrl+Enter** |
| **A** **D** | keep or change your opinion after the reveal |
| **N** | next case |
| **H** **K** **[** **]** | heat map on or off, contour, less or more opacity |
| **0** **Z** | fit the image, 100 % |
| arrows | previous and next image of the case |
"""


def _chosen_case() -> int | None:
    """Give the case of the address, else the one read last in this session, else the next that waits."""
    address = st.query_params.get("case", "")
    if address.isdecimal():
        return int(address)
    if "reading" in st.session_state:
        return int(st.session_state["reading"])
    with resources.sessions().read() as session:
        return store.next_case(session, resources.account().id)


def _header(case: CaseView, to_read: int) -> None:
    images = "1 image" if len(case.images) == 1 else f"{len(case.images)} images"
    demonstration = "generated demo case" if case.demonstration else ""
    parts = [
        f"**{panels.plain(case.accession)}**",
        images,
        panels.plain(case.magnification or "").strip() or "magnification not said",
        demonstration,
    ]
    parts += ["routine reading", f"{to_read} to read", st.session_state.get("saved", "")]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(" &nbsp;·&nbsp; ".join(part for part in parts if part), width="stretch")
        if case.final_read is None and st.button("Skip to next", shortcut="N", type="tertiary"):
            stages.open_next(case.id)
        with st.popover("? keys", type="tertiary"):
            st.markdown(_KEYS)


@st.fragment(run_every=_POLL)
def _wait_for_model(case: CaseView) -> None:
    with resources.sessions().read() as session:
        ready = not panels.pending(store.case_images(session, case.id))
    if ready:
        st.rerun()
    st.info("Your first opinion is saved. The analysis is not finished; the model's opinion appears here by itself.")
    if st.button("Finish without waiting"):
        st.session_state[f"no-wait-{case.id}"] = True
        st.rerun()


def _opinion(case: CaseView, reads: Sequence[Read]) -> None:
    if case.first_read is None:
        stages.first_opinion(case)
    elif case.final_read is not None:
        stages.saved_opinion(case, reads)
    elif panels.pending(case.images) and not st.session_state.get(f"no-wait-{case.id}"):
        _wait_for_model(case)
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
        _nothing_to_read(f"There is no case number {case_id}")
        return
    st.session_state["reading"] = case_id
    st.query_params["case"] = str(case_id)
    _header(case, counts.get(CaseState.READY, 0))
    left, right = st.columns([3, 1.15], gap="small")
    with left:
        view_image(tissue.viewed_images(case), key=f"viewer-{case_id}", height=_VIEWER_HEIGHT)
    with right:
        _opinion(case, reads)


chosen = _chosen_case()
if chosen is None:
    _nothing_to_read("Nothing is waiting for you")
else:
    _read(chosen)
