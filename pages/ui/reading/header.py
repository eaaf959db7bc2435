"""The line above the tissue: which case this is, what was saved last, and the keys."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from db.values.reading import CaseView, Place
from pages.ui import formatting
from pages.ui.reading import mode, saved

_KEYS = """
| key | does |
|---|---|
| **B** **M** **X** | benign, malignant, cannot assess |
| **1** … **5** | confidence, from a guess to certain |
| **Enter** | save; from inside a field **Ctrl+Enter** |
| **A** **D** | keep or change your opinion after the reveal |
| **Y** **O** **U** | map useful: yes, no, unsure |
| **N** | next case |
| **7** **8** **9** | adjudication: the difference matters not, little, much |
| **L** | sign the case out, **S** says yes; amend what is signed |
| **Q** | study: pause; there is no next case, no taking back and no signing out in it |
| **W** | take the final opinion of the last case back, within 60 s; a first opinion stays: the model was shown |
| **P** **T** **F** | mark a point, a box, a free shape; then arrows and **Space** at the cross, **Esc** leaves |
| **E** **Ctrl+Z** | note on the last mark; take back the last change of the marks |
| **H** **K** **[** **]** | heat map on or off, contour, less or more opacity |
| **0** **Z** | fit the image, 100 % |
| arrows | previous and next image of the case |
"""


def header(case: CaseView, to_read: int) -> None:
    """Draw the line above the tissue in routine reading."""
    skip = partial(mode.open_next, case.id) if case.final_read is None else None
    line(case, ("**ROUTINE**", f"{to_read} to read", *_elsewhere(case)), skip)


def line(case: CaseView, told: Sequence[str], skip: Callable[[], None] | None) -> None:
    """Draw the line above the tissue: the case, what else is told, and a way to leave it unread where there is one."""
    _draw(
        [f"**{formatting.plain(case.accession)}**", *_kind(case), *told], ("Skip to next", "N", skip) if skip else None
    )


def study_line(case: CaseView, place: Place, rounds: int, pause: Callable[[], None]) -> None:
    """Draw the line above the tissue in a study; without the number of the case, by which it might be known again."""
    where = f"round {place.round} of {rounds}" if rounds > 1 else "round 1"
    told = [f"**STUDY** {formatting.plain(place.study)}", str(place.arm), where, f"case {place.position} of {place.of}"]
    _draw([*told, "no going back", *_kind(case)], ("Pause", "Q", pause))


def _elsewhere(case: CaseView) -> list[str]:
    """Say who else reads the case now; both may, and both reads are kept."""
    found = case.open_elsewhere if case.final_read is None else ()
    return [
        f"{formatting.plain(one.reader)} has this case open since {formatting.clock(one.since)[:5]}" for one in found
    ]


def _kind(case: CaseView) -> tuple[str, str]:
    images = formatting.count_words(len(case.images), "image")
    return images, "generated demo case" if case.demonstration else formatting.plain(
        case.magnification or "no magnification"
    )


def _draw(parts: Sequence[str], leave: tuple[str, str, Callable[[], None]] | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.markdown(" &nbsp;·&nbsp; ".join(parts), width="stretch")
        saved.show_last_saved()
        if leave is not None and st.button(leave[0], shortcut=leave[1], type="tertiary"):
            leave[2]()
        with st.popover("? keys", type="tertiary"):
            st.markdown(_KEYS)
