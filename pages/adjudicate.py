"""Adjudicate the cases on which readers differ: read blind, compare the opinions, save a consensus, sign off."""

import streamlit as st

from db import store
from db.errors import CaseChangedError, UnknownCaseError
from db.values.adjudication import Adjudication
from pages.ui import adjudicate, components, formatting, meet_model, resources, times
from pages.ui.paging import Pages
from pages.ui.reading import case_report, forms, sign_off, tissue

_PAGES = Pages("adjudication", store.adjudication.PAGE, int)


def _draw_list() -> None:
    end = _PAGES.end_of_previous(())
    waiting = adjudicate.list_waiting_cases(end)
    if not waiting.rows and end is not None:
        _PAGES.show_first()
    cases = waiting.rows
    if not cases:
        st.subheader("No cases are waiting for adjudication")
        st.markdown("Cases are listed here when readers differ from each other or from the model, or are unsure.")
        st.page_link("worklist.py", label="Worklist")
        return
    start, note = st.columns([1.2, 4], vertical_alignment="center")
    if start.button("Adjudicate next", type="primary", shortcut="N", width="stretch"):
        adjudicate.open_case(adjudicate.list_waiting_cases(size=1).rows[0].id)
    note.caption("You read each case blind first. Then you see why it needs adjudication, and all opinions.")
    picked = adjudicate.draw_case_table(cases)
    _PAGES.draw_buttons(len(cases), cases[-1].id if waiting.more else None, waiting.total, "case")
    if picked is not None:
        adjudicate.open_case(picked)


def _draw_opinions(seen: Adjudication) -> None:
    if seen.case.unmet is not None:
        meet_model.ask_before_reveal(seen.case.unmet)
        return
    if seen.blind is None:
        forms.ask_first_opinion(adjudicate.make_blind_mode(seen.case))
        return
    adjudicate.show_opinions(seen)
    if seen.waits:
        adjudicate.ask_consensus(seen)
    elif seen.consensus is not None:
        adjudicate.show_consensus(seen, seen.consensus)
        sign_off.draw_sign_off(seen.case)
        case_report.draw_case_export(seen.case)
        adjudicate.draw_next_button(seen.case.id)


def _draw_case(case_id: int) -> None:
    adjudicator = resources.account().id
    try:
        with resources.sessions().begin() as session:
            seen = store.adjudication.open_adjudication(session, case_id, adjudicator, met_only=True)
    except (UnknownCaseError, CaseChangedError) as error:
        st.subheader("This case cannot be adjudicated")
        words = formatting.escape(times.localise_message(str(error)).rstrip("."))
        st.markdown(f"{words[:1].upper()}{words[1:]}.")
        adjudicate.show_unsaved(case_id)
        if st.button("Show waiting cases", shortcut="N", type="primary"):
            st.query_params.clear()
            st.rerun()
        return
    adjudicate.draw_header(seen)
    left, right = st.columns([2.5, 1.25] if seen.blind else [3, 1.15], gap="small", wrap=False)
    with left:
        form = None if seen.blind else tissue.find_open_form(seen.case, adjudicate.make_blind_mode(seen.case))
        marks, others = tissue.list_saved_marks(seen.case), adjudicate.list_marks(seen)
        images = tissue.list_viewed_images(seen.case)
        tissue.draw_tissue(images, key=f"viewer-{case_id}", form=form, before=marks, others=others)
    with right, st.container(key="opinion"), st.container():
        _draw_opinions(seen)


chosen = components.number_in_address("case")
if chosen is None:
    _draw_list()
else:
    _draw_case(chosen)
