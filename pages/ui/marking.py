"""The tissue of a case with what is marked on it: in the form that is open, in a saved read, or by other readers."""

from collections.abc import Sequence

import streamlit as st

from db.reading_values import Region
from db.values import CaseView
from pages.ui import drafts, edit_time, resources
from pages.ui.read_form import ReadForm
from pages.ui.reading_mode import ReadingMode
from pages.ui.viewer import Marked, OthersMarks, Scene, Sheet, ViewedImage, view_image

_HEIGHT = 640  # px; with the header it fills a screen of 800


def find_open_form(case: CaseView, mode: ReadingMode) -> ReadForm | None:
    """Return the form of a case that takes marks now; None where all is saved."""
    if case.first_read is None:
        return mode.first_form
    if case.final_read is None:
        return mode.final_form
    amendment = ReadForm.amendment(case.id, case.final_read.id)
    return amendment if amendment.is_amending else None


def list_saved_marks(case: CaseView) -> tuple[Region, ...]:
    """Return the marks of one's last read of a case; a further read begins with copies of them."""
    last = case.final_read or case.first_read
    return last.opinion.regions if last else ()


@st.fragment
def draw_tissue(
    images: Sequence[ViewedImage],
    *,
    key: str,
    form: ReadForm | None,
    before: tuple[Region, ...] = (),
    overtaken: tuple[ReadForm, ...] = (),
    others: tuple[OthersMarks, ...] = (),
) -> None:
    """Show the images; marks go to `form`, which begins with those of `before`, or are only shown where it is None.

    What this session or this tab of the browser still has of `overtaken` forms, which another window saved, is added.

    `others` is for adjudication alone: nobody sees another reader's marks before their own first read.
    """
    unsaved = tuple(each for each in overtaken if not each.is_saved)
    begun = tuple(dict.fromkeys([*before, *(region for each in unsaved for region in each.marks)]))
    regions = form.begin_marks(begun) if form else before
    owner, session = resources.account().id, drafts.name_server_session()
    names = tuple(each.key for each in unsaved)
    sheet = Sheet(form.key if form else "", regions, form is not None, owner, session, names)
    view_image(images, key=key, height=_HEIGHT, scene=Scene(sheet, others, _keep))


def _keep(now: Marked) -> None:
    form = ReadForm(now.form)
    form.mark(now.regions)
    edit_time.count(form)
