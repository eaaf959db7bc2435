"""The tissue of a case with what is marked on it: in the form that is open, in a saved read, or by other readers."""

from collections.abc import Sequence

import streamlit as st

from db.reading_values import Region
from db.values import CaseView
from pages.ui import drafts, edit_time, resources
from pages.ui.viewer import Marked, OthersMarks, Scene, Sheet, ViewedImage, view_image

_HEIGHT = 640  # px; with the header it fills a screen of 800


def open_form(case: CaseView, key: str) -> str | None:
    """Name the form of a case that takes marks now; None where all is saved. `key` is that of the reading mode."""
    if case.first_read is None:
        return f"first-{key}"
    if case.final_read is None:
        return f"final-{key}"
    amendment = f"amend-{case.id}-{case.final_read.id}"
    return amendment if st.session_state.get(f"{amendment}-amend") else None


def saved_marks(case: CaseView) -> tuple[Region, ...]:
    """Give the marks of one's last read of a case; a further read begins with copies of them."""
    last = case.final_read or case.first_read
    return last.opinion.regions if last else ()


@st.fragment
def tissue(
    images: Sequence[ViewedImage],
    *,
    key: str,
    form: str | None,
    before: tuple[Region, ...] = (),
    overtaken: tuple[str, ...] = (),
    others: tuple[OthersMarks, ...] = (),
) -> None:
    """Show the images; marks go to `form`, which begins with those of `before`, or are only shown where it is None.

    What this session or this tab of the browser still has of `overtaken` forms, which another window saved, is added.

    `others` is for adjudication alone: nobody sees another reader's marks before their own first read.
    """
    unsaved = tuple(each for each in overtaken if not st.session_state.get(f"{each}-saved"))
    begun = tuple(dict.fromkeys([*before, *(region for each in unsaved for region in marked(each))]))
    regions = st.session_state.setdefault(_name(form), begun) if form else before
    owner, session = resources.account().id, drafts.server_session()
    sheet = Sheet(form or "", regions, form is not None, owner, session, unsaved)
    view_image(images, key=key, height=_HEIGHT, scene=Scene(sheet, others, _keep))


def marked(form: str) -> tuple[Region, ...]:
    """Give what is marked now in a form."""
    found: tuple[Region, ...] = st.session_state.get(_name(form), ())
    return found


def _keep(now: Marked) -> None:
    st.session_state[_name(now.form)] = now.regions
    edit_time.counted(now.form)


def _name(form: str) -> str:
    return f"{form}-marks"
