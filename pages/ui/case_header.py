"""The line above the tissue: which case this is, what was saved last, and the keys."""

import streamlit as st

from db.values import CaseView
from pages.ui import panels, stages

_KEYS = """
| key | does |
|---|---|
| **B** **M** **X** | benign, malignant, cannot assess |
| **1** … **5** | confidence, from a guess to certain |
| **Enter** | save; from inside a field **Ctrl+Enter** |
| **A** **D** | keep or change your opinion after the reveal |
| **Y** **O** **U** | map useful: yes, no, unsure |
| **N** | next case |
| **H** **K** **[** **]** | heat map on or off, contour, less or more opacity |
| **0** **Z** | fit the image, 100 % |
| arrows | previous and next image of the case |
"""


def header(case: CaseView, to_read: int) -> None:
    """Draw the line above the tissue."""
    images = "1 image" if len(case.images) == 1 else f"{len(case.images)} images"
    kind = "generated demo case" if case.demonstration else panels.plain(case.magnification or "no magnification")
    parts = [f"**{panels.plain(case.accession)}**", images, kind]
    parts += ["routine reading", f"{to_read} to read", st.session_state.get("saved", "")]
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.markdown(" &nbsp;·&nbsp; ".join(part for part in parts if part), width="stretch")
        if case.final_read is None and st.button("Skip to next", shortcut="N", type="tertiary"):
            stages.open_next(case.id)
        with st.popover("? keys", type="tertiary"):
            st.markdown(_KEYS)
