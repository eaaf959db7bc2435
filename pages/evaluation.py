"""Stored evaluations: one model or two on labelled images, down to the single image."""

import streamlit as st

from pages.ui import resources
from pages.ui.evaluation import choices, matrix_and_images, summary, tables
from pages.ui.evaluation.choices import StoredEvaluation

_DRAWN = {
    "Curves": summary.draw_curves,
    "Images": matrix_and_images.draw_images,
    "Patients": summary.draw_patients,
    "Groups": summary.draw_groups,
}


def _view(chosen: list[StoredEvaluation]) -> None:
    # Not the widget's own default: that would be a second word on what a click on a cell has chosen.
    st.session_state.setdefault(choices.VIEW, choices.VIEWS[0])
    view = st.segmented_control(
        "View",
        choices.VIEWS,
        required=True,
        key=choices.VIEW,
        label_visibility="collapsed",
        persist_state="session",
    )
    _DRAWN[view or choices.VIEWS[0]](chosen)


def _evaluation(chosen: list[StoredEvaluation]) -> None:
    choices.show_overlap(chosen)
    summary.draw_headline(chosen)
    summary.draw_notes(chosen)
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        matrix_and_images.draw_matrices(chosen)
    with right:
        _view(chosen)
    tables.draw_published(chosen)
    tables.draw_details(chosen)
    tables.draw_exports(chosen)


rows = resources.evaluations().rows()
if not rows:
    choices.draw_empty_page()
elif chosen := choices.ask_evaluations(rows):
    _evaluation(chosen)
