"""One case of a study on the screen: the forms of its arm, and unsaved entries of the previous case."""

from functools import partial

import streamlit as st

from db import store
from db.values.reading import Arm, CaseView, Place
from pages.ui import meet_model
from pages.ui.reading import forms, header, inputs, tissue
from pages.ui.reading.form_state import ReadForm
from pages.ui.reading.mode import ReadingMode

_NOW, _BEFORE = "study-place", "study-place-before"


def draw_place(case: CaseView, place: Place, rounds: int) -> None:
    """Draw the tissue and the form of one case of a study."""
    mode = _make_mode(place)
    header.draw_study_header(case, place, rounds, pause_study)
    show_unsaved_before(place)
    left, right = st.columns([3, 1.15], gap="small", wrap=False)
    with left:
        form = mode.first_form if _is_blind(case, place) else mode.final_form
        marks = tissue.list_saved_marks(case)
        tissue.draw_tissue(tissue.list_viewed_images(case), key=f"viewer-{mode.key}", form=form, before=marks)
    with right, st.container(key="opinion"):
        _draw_form(case, place, mode)


def pause_study() -> None:
    """Leave the case unread and show the studies; the reader continues with the same case."""
    st.query_params.clear()
    st.rerun()


def _draw_form(case: CaseView, place: Place, mode: ReadingMode) -> None:
    if case.unmet is not None:
        meet_model.ask_before_reveal(case.unmet)
    elif _is_blind(case, place):
        forms.ask_first_opinion(mode)
    elif case.first_read is None:
        forms.ask_opinion_beside_model(case, mode)
    else:
        forms.show_unsaved_opinions(case, mode, ())
        forms.ask_final_opinion(case, case.first_read, mode)


def _is_blind(case: CaseView, place: Place) -> bool:
    return case.first_read is None and place.arm is not Arm.MODEL_FIRST


def _make_mode(place: Place) -> ReadingMode:
    save = partial(store.study_reading.record_study_read, place_id=place.id)
    mode = partial(ReadingMode, _key(place), f"Case {place.position}", save, save, st.rerun)
    if place.arm is not Arm.UNAIDED:
        return mode()
    return mode("Your opinion", "Save and open next case", "This arm does not show the model's opinion.")


def show_unsaved_before(place: Place | None) -> None:
    """Show unsaved entries of the previous case, if another window went on or the study was closed."""
    now = _key(place) if place else ""
    if st.session_state.get(_NOW) != now:
        st.session_state[_BEFORE], st.session_state[_NOW] = st.session_state.get(_NOW, ""), now
    before = st.session_state[_BEFORE]
    if before:
        inputs.show_unsaved(ReadForm.first(before), ReadForm.final(before))


def _key(place: Place) -> str:
    return f"place-{place.id}"
