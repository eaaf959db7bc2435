"""The three stages of reading a case: first opinion, final opinion, and what was saved."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.values import CaseView, Opinion, Read
from pages.ui import opinion as ask
from pages.ui import panels, resources, reveal

_POLL_SECONDS = 2

Typed = Opinion | str  # an opinion, or what is still missing


@st.fragment
def first_opinion(case: CaseView) -> None:
    """Ask for the blind opinion; the store gives out nothing of the model before it is saved."""
    key = f"first-{case.id}"
    panels.opened_at(key)
    st.markdown("##### Your first opinion")
    choice = ask.label_input(key, ask.ANY)
    confidence = ask.confidence_input(key, choice)
    subtype = ask.subtype_input(key, choice.label if choice else None)
    typed = ask.opinion_of(choice, confidence, subtype, ask.note_input(key))
    asked = ask.save_pressed(key, "Save and reveal")
    st.caption("The model's opinion appears after yours is saved.")
    if _save(case, key, typed, store.record_first_read, asked=asked):
        st.rerun()


@st.fragment(run_every=_POLL_SECONDS)
def wait_for_model(case: CaseView) -> None:
    """Say that the analysis is not finished, and look again until it is."""
    with resources.sessions().read() as session:
        ready = not panels.pending(store.case_images(session, case.id))
    if ready:
        st.rerun()
    st.info("Your first opinion is saved. The analysis is not finished; the model's opinion appears here by itself.")
    if st.button("Finish without waiting"):
        st.session_state[f"no-wait-{case.id}"] = True
        st.rerun()


@st.fragment
def final_opinion(case: CaseView, first: Read) -> None:
    """Show both opinions and ask for the last word."""
    key = f"final-{case.id}"
    panels.opened_at(key)
    reveal.opinions(case, first)
    st.markdown("##### Final opinion")
    choice = ask.label_input(key, ask.choices_after(first.opinion.label))
    typed = _last_word(case, key, choice, first.opinion)
    asked = ask.save_pressed(key, "Save, next case")
    if _save(case, key, typed, partial(store.record_final_read, seen=reveal.shown(case)), asked=asked):
        open_next(case.id)


@st.fragment
def saved_opinion(case: CaseView, reads: Sequence[Read]) -> None:
    """Show what was saved, with a way to the next case and a way to amend."""
    first, final = reads[0], reads[-1]
    key = f"amend-{case.id}-{final.id}"
    reveal.opinions(case, first)
    st.markdown(f"Final &ensp; **{panels.opinion_words(final.opinion)}**")
    reveal.history(case, reads)
    if st.button("Next case", shortcut="N", type="primary", width="stretch"):
        open_next(case.id)
    if st.toggle("Amend the final opinion", key=f"{key}-amend"):
        _amendment(case, key, final)


def unsaved_first_opinion(case: CaseView) -> None:
    """Show what was typed here while another window saved the first opinion, so that it is not lost."""
    key = f"first-{case.id}"
    if st.session_state.get(f"{key}-saved") or f"{key}-choice" not in st.session_state:
        return
    st.warning(f"Another window saved your first opinion. This was typed here and is not saved: {ask.typed_words(key)}")


def open_next(case_id: int | None) -> None:
    """Show the next case that waits for this reader, or the worklist when none does."""
    reader = resources.account().id
    with resources.sessions().read() as session:
        following = store.next_case(session, reader, after=case_id)
    if following is None:
        st.switch_page("worklist.py")
    st.query_params["case"] = str(following)
    st.rerun()


def _amendment(case: CaseView, key: str, final: Read) -> None:
    panels.opened_at(key)
    typed = _last_word(case, key, ask.label_input(key, ask.ANY), final.opinion)
    if isinstance(typed, Opinion) and not typed.note:
        typed = "Say in the note why you amend it."
    asked = ask.save_pressed(key, "Save the amendment")
    if _save(case, key, typed, partial(store.amend_read, replaces=final.id), asked=asked):
        st.rerun()


def _last_word(case: CaseView, key: str, choice: ask.Choice | None, before: Opinion) -> Typed:
    confidence = ask.confidence_input(key, choice, before.confidence)
    model = case.reveal.malignancy if case.reveal else None
    differs = choice is not None and None not in (choice.label, model) and choice.label != model
    reason = ask.reason_input(key) if differs else None
    typed = ask.opinion_of(choice, confidence, _kept_subtype(choice, before), ask.note_input(key))
    vote = ask.vote_input(key) if reveal.has_map(case) else None
    if isinstance(typed, str):
        return typed
    if differs and reason is None:
        return "You differ from the model: choose a reason."
    if reason == "other" and not typed.note:
        return "Say in the note which other reason."
    return replace(typed, reason=reason, vote=vote)


def _kept_subtype(choice: ask.Choice | None, before: Opinion) -> str | None:
    return before.subtype if choice is not None and choice.label == before.label else None


def _save(case: CaseView, key: str, typed: Typed, record: Callable[..., Read], *, asked: bool) -> bool:
    """Save when asked to; what stands in the way is said here, beside the button, and nothing typed is lost."""
    if isinstance(typed, str):
        if asked:
            st.error(typed)
        return False
    if not (asked if typed.label else ask.confirmed(key, asked=asked)):
        return _conflict(key)
    reader = resources.account().id
    try:
        with resources.sessions().begin() as session:
            read = record(session, case.id, reader, typed, panels.opened_at(key))
    except (CaseChangedError, ValueError) as error:
        st.session_state[f"{key}-conflict"] = str(error)
        return _conflict(key)
    st.session_state[f"{key}-saved"] = True
    st.session_state["saved"] = f"{case.accession} saved {panels.clock(read.saved_at)}"
    return True


def _conflict(key: str) -> bool:
    message = st.session_state.get(f"{key}-conflict")
    if message:
        st.error(f"Not saved: {message}. What you typed is still here.")
        if st.button("Show what is saved", key=f"{key}-show"):
            del st.session_state[f"{key}-conflict"]
            st.rerun()
    return False
