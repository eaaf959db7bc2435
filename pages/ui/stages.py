"""The stages of reading a case: first opinion, final opinion, one beside the model, and what was saved."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.values import CaseView, Opinion, Read
from pages.ui import case_export, conflict, drafts, edit_time, marking, panels, resources, reveal, saved, sign_off
from pages.ui import opinion as ask
from pages.ui.reading_mode import ReadingMode, routine

_POLL_SECONDS = 2

Typed = Opinion | str  # an opinion, or what is still missing


@st.fragment
def first_opinion(mode: ReadingMode) -> None:
    """Ask for the blind opinion; the store gives out nothing of the model before it is saved."""
    key = f"first-{mode.key}"
    panels.opened_at(key)
    st.markdown(f"##### {mode.first_title}")
    choice = ask.label_input(key, ask.ANY)
    confidence = ask.confidence_input(key, choice)
    subtype = ask.subtype_input(key, choice.label if choice else None)
    typed = ask.opinion_of(choice, confidence, subtype, ask.note_input(key))
    asked = ask.save_pressed(key, mode.first_button)
    st.caption(mode.first_caption)
    if _save(mode, key, typed, mode.first, asked=asked):
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
def final_opinion(case: CaseView, first: Read, mode: ReadingMode) -> None:
    """Show both opinions and ask for the last word."""
    key = f"final-{mode.key}"
    panels.opened_at(key)
    reveal.opinions(case, first)
    st.markdown("##### Final opinion")
    choice = ask.label_input(key, ask.choices_after(first.opinion.label))
    typed = _last_word(case, key, choice, first.opinion)
    asked = ask.save_pressed(key, "Save, next case")
    if _save(mode, key, typed, partial(mode.final, seen=reveal.shown(case)), asked=asked):
        mode.go_on()


@st.fragment
def opinion_beside_model(case: CaseView, mode: ReadingMode) -> None:
    """Ask for the one opinion of a reader who sees the model's from the beginning."""
    key = f"final-{mode.key}"
    panels.opened_at(key)
    reveal.model_opinion(case)
    st.markdown("##### Your opinion")
    typed = _last_word(case, key, ask.label_input(key, ask.ANY), None)
    asked = ask.save_pressed(key, "Save, next case")
    if _save(mode, key, typed, partial(mode.final, seen=reveal.shown(case)), asked=asked):
        mode.go_on()


@st.fragment
def saved_opinion(case: CaseView, reads: Sequence[Read]) -> None:
    """Show what was saved, with a way to the next case and a way to amend."""
    first, final = case.first_read, case.final_read
    if first is None or final is None:
        return
    key = f"amend-{case.id}-{final.id}"
    reveal.opinions(case, first)
    st.markdown(f"Final &ensp; **{panels.opinion_words(final.opinion)}**")
    reveal.history(case, reads)
    sign_off.panel(case)
    if st.button("Next case", shortcut="N", type="primary", width="stretch"):
        routine(case).go_on()
    if not sign_off.is_signed(case) and st.toggle(
        "Amend the final opinion", key=f"{key}-amend", on_change=_turned, args=(key,)
    ):
        _amendment(case, key, final)
    case_export.case_export(case)
    if st.session_state.pop(f"{key}-turned", False):
        st.rerun()  # the tissue takes marks as long as the form is open


def _turned(key: str) -> None:
    st.session_state[f"{key}-turned"] = True


def unsaved_opinions(case: CaseView, mode: ReadingMode, reads: Sequence[Read]) -> None:
    """Show what was typed here while another window saved its own opinion, so that it is not lost."""
    forms = [(f"first-{mode.key}", "first")]
    forms += [(f"final-{mode.key}", "final")] if case.final_read else []
    forms += [(f"amend-{case.id}-{read.id}", "final") for read in reads[1:-1]]
    for key, stage in forms:
        if not st.session_state.get(f"{key}-saved"):
            drafts.keep(key)
        same = stage == "first" and case.first_read and ask.typed_the_same(key, case.first_read.opinion)
        words = "" if same or st.session_state.get(f"{key}-saved") else ask.typed_words(key)
        if words:
            st.warning(f"Another window saved your {stage} opinion. This was typed here and is not saved: {words}")


def _amendment(case: CaseView, key: str, final: Read) -> None:
    panels.opened_at(key)
    typed = _last_word(case, key, ask.label_input(key, ask.ANY), final.opinion)
    if isinstance(typed, Opinion) and not typed.note:
        typed = "Say in the note why you amend it."
    asked = ask.save_pressed(key, "Save the amendment")
    amend = partial(store.amend_read, case_id=case.id, replaces=final.id)
    if _save(routine(case), key, typed, amend, asked=asked):
        st.rerun()


def _last_word(case: CaseView, key: str, choice: ask.Choice | None, before: Opinion | None) -> Typed:
    confidence = ask.confidence_input(key, choice, before.confidence if before else None)
    subtype = _subtype(key, choice, before)
    model = case.reveal.malignancy if case.reveal else None
    differs = choice is not None and None not in (choice.label, model) and choice.label != model
    reason = ask.reason_input(key) if differs else None
    typed = ask.opinion_of(choice, confidence, subtype, ask.note_input(key))
    vote = ask.vote_input(key) if reveal.has_map(case) else None
    if isinstance(typed, str):
        return typed
    if differs and reason is None:
        return "You differ from the model: choose a reason."
    if reason == "other" and not typed.note:
        return "Say in the note which other reason."
    return replace(typed, reason=reason, vote=vote)


def _subtype(key: str, choice: ask.Choice | None, before: Opinion | None) -> str | None:
    """Keep the subtype of an opinion that stays, and ask for one where there was none before."""
    label = choice.label if choice else None
    if before is None:
        return ask.subtype_input(key, label)
    return before.subtype if choice is not None and label == before.label else None


def _save(mode: ReadingMode, key: str, typed: Typed, record: Callable[..., Read], *, asked: bool) -> bool:
    """Save when asked to; what stands in the way is said here, beside the button, and nothing typed is lost."""
    spent = edit_time.counted(key)
    drafts.keep(key)
    if isinstance(typed, str):
        if asked:
            st.error(typed)
        return False
    if not (asked if typed.label else ask.confirmed(key, asked=asked)):
        return conflict.not_saved(key)
    reader, opened = resources.account().id, panels.opened_at(key)
    said = replace(typed, regions=marking.marked(key))
    try:
        with resources.sessions().begin() as session:
            read = record(session, account_id=reader, opinion=said, opened_at=opened, edit_seconds=spent)
    except (CaseChangedError, ValueError) as error:
        conflict.remember(key, error)
        return conflict.not_saved(key)
    saved.remember(mode.called, key, read)
    return True
