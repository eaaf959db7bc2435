"""Read the cases of a study one after the other, in the reader's own order and without going back."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.errors import UnknownCaseError
from db.values.studies import OwnStudy
from pages.ui import components, formatting, read_study, resources, times
from pages.ui.reading import saved


def _open_study(study: OwnStudy) -> None:
    st.query_params["study"] = str(study.id)
    st.rerun()


def _write_state(study: OwnStudy) -> str:
    if study.closed_at is not None:
        return f"closed on {times.format_date_time(study.closed_at)}"
    if study.place is None:
        return "all cases read, thank you"
    step = f"round {study.place.round} of {study.rounds}, {study.place.arm}"
    if study.rests_until is not None:
        return f"{step}, starts after the washout on {times.format_date_time(study.rests_until)}"
    return f"{step}, next is case {study.place.position} of {study.place.of}"


def _draw_study(study: OwnStudy, *, first: bool) -> None:
    with st.container(border=True, key=f"study-{study.id}"):
        st.markdown(f"**{formatting.escape(study.name)}** &nbsp;·&nbsp; {_write_state(study)}")
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.progress(study.done / study.total, text=f"{study.done} of {study.total} read")
        if study.place is not None and study.rests_until is None:
            words = "Continue" if study.done else "Start"
            shortcut = "N" if first else None
            if right.button(words, key=f"go-{study.id}", type="primary", shortcut=shortcut, width="stretch"):
                _open_study(study)


def _draw_list(studies: Sequence[OwnStudy]) -> None:
    if not studies:
        st.markdown("You are not a reader in any study. Your routine cases are in the worklist.")
        st.page_link("worklist.py", label="Worklist")
        return
    st.caption(
        "Each reader sees the cases in a different order. Saved opinions cannot be changed, and cases cannot be "
        "skipped, but you can pause at any time and continue with the same case."
    )
    waiting = [study.id for study in studies if study.place is not None and study.rests_until is None]
    for study in studies:
        _draw_study(study, first=study.id in waiting[:1])


def _draw_place(number: int) -> None:
    reader = resources.account().id
    try:
        with resources.sessions().begin() as session:
            opened = store.study_reading.open_place(session, number, reader, met_only=True)
    except UnknownCaseError:
        st.warning("Study not found, or you are not one of its readers.")
        _draw_list(_load_studies())
        return
    if opened.case is not None and opened.study.place is not None:
        read_study.draw_place(opened.case, opened.study.place, opened.study.rounds)
        return
    saved.show_last_saved()
    read_study.show_unsaved_before(opened.study.place)
    _draw_list(_load_studies())


def _load_studies() -> list[OwnStudy]:
    reader = resources.account().id
    with resources.sessions().read() as session:
        return store.study_reading.own_studies(session, reader)


chosen = components.number_in_address("study")
if chosen is None:
    _draw_list(_load_studies())
else:
    _draw_place(chosen)
