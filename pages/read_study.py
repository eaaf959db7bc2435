"""Read in a study: its cases one after the other in an order of one's own, and never back."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.errors import UnknownCaseError
from db.values.studies import OwnStudy
from pages.ui import components, formatting, read_study, resources
from pages.ui.reading import saved


def _go_on(study: OwnStudy) -> None:
    st.query_params["study"] = str(study.id)
    st.rerun()


def _state(study: OwnStudy) -> str:
    if study.closed_at is not None:
        return f"closed on {formatting.day_and_clock(study.closed_at)}"
    if study.place is None:
        return "you have read everything: thank you"
    here = f"round {study.place.round} of {study.rounds}, {study.place.arm}"
    if study.rests_until is not None:
        return f"{here}, begins after a pause: on {formatting.day_and_clock(study.rests_until)}"
    return f"{here}, case {study.place.position} of {study.place.of} comes next"


def _one(study: OwnStudy, *, first: bool) -> None:
    with st.container(border=True, key=f"study-{study.id}"):
        st.markdown(f"**{formatting.plain(study.name)}** &nbsp;·&nbsp; {_state(study)}")
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.progress(study.done / study.total, text=f"{study.done} of {study.total} read")
        if study.place is not None and study.rests_until is None:
            words = "Go on" if study.done else "Begin"
            shortcut = "N" if first else None
            if right.button(words, key=f"go-{study.id}", type="primary", shortcut=shortcut, width="stretch"):
                _go_on(study)


def _list(studies: Sequence[OwnStudy]) -> None:
    st.subheader("Studies in which you read")
    if not studies:
        st.markdown("You read in no study. The cases of the worklist are read in routine.")
        st.page_link("worklist.py", label="Worklist")
        return
    st.caption(
        "The cases come in an order of your own. What is saved stays: there is no going back and no skipping. "
        "You may leave at any time and come back to the same case."
    )
    waiting = [study.id for study in studies if study.place is not None and study.rests_until is None]
    for study in studies:
        _one(study, first=study.id in waiting[:1])


def _read(number: int) -> None:
    reader = resources.account().id
    try:
        with resources.sessions().begin() as session:
            opened = store.study_reading.open_place(session, number, reader)
    except UnknownCaseError:
        st.warning("You read in no such study.")
        _list(_own())
        return
    if opened.case is not None and opened.study.place is not None:
        read_study.draw_place(opened.case, opened.study.place, opened.study.rounds)
        return
    saved.show_last_saved()
    read_study.show_typed_before(opened.study.place)
    _list(_own())


def _own() -> list[OwnStudy]:
    reader = resources.account().id
    with resources.sessions().read() as session:
        return store.study_reading.own_studies(session, reader)


chosen = components.number_in_address("study")
if chosen is None:
    _list(_own())
else:
    _read(chosen)
