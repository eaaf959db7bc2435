"""Stored evaluations: one model or two on labelled images, down to the single image."""

import streamlit as st

from db import store
from pages.ui import (
    evaluation_choice,
    evaluation_images,
    evaluation_matrix,
    evaluation_panels,
    evaluation_tables,
    resources,
)
from pages.ui.evaluation_choice import Stored

_DRAWN = {
    "Curves": evaluation_panels.curves,
    "Images": evaluation_images.images,
    "Patients": evaluation_panels.patients,
    "Groups": evaluation_panels.groups,
}


def _view(chosen: list[Stored]) -> None:
    # Not the widget's own default: that would be a second word on what a click on a cell has chosen.
    st.session_state.setdefault(evaluation_choice.VIEW, evaluation_choice.VIEWS[0])
    view = st.segmented_control(
        "View",
        evaluation_choice.VIEWS,
        required=True,
        key=evaluation_choice.VIEW,
        label_visibility="collapsed",
        persist_state="session",
    )
    _DRAWN[view or evaluation_choice.VIEWS[0]](chosen)


def _evaluation(chosen: list[Stored]) -> None:
    evaluation_panels.headline(chosen)
    evaluation_panels.notes(chosen)
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        evaluation_matrix.matrices(chosen)
    with right:
        _view(chosen)
    evaluation_tables.published(chosen)
    evaluation_tables.details(chosen)
    evaluation_tables.exports(chosen)


with resources.sessions().read() as session:
    rows = store.evaluations(session)
if not rows:
    evaluation_choice.nothing_yet()
elif chosen := evaluation_choice.choose(rows):
    _evaluation(chosen)
