"""The stages of reading a case: first opinion, final opinion, one beside the model, and what was saved."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.values.reading import CaseView, Opinion, Read
from pages.ui import formatting, resources
from pages.ui.reading import case_report, drafts, edit_time, inputs, model_opinion, saved, sign_off
from pages.ui.reading.mode import ReadingMode, routine
from pages.ui.reading.read_form import ReadForm

_POLL_SECONDS = 2

Typed = Opinion | str  # an opinion, or what is still missing


@st.fragment
def ask_first_opinion(mode: ReadingMode) -> None:
    """Ask for the blind opinion; the store gives out nothing of the model before it is saved."""
    form = mode.first_form
    form.mark_opened()
    st.markdown(f"##### {mode.first_title}")
    choice = inputs.ask_label(form, inputs.ANY)
    confidence = inputs.ask_confidence(form, choice)
    subtype = inputs.ask_subtype(form, choice.label if choice else None)
    typed = inputs.combine_opinion(choice, confidence, subtype, inputs.ask_note(form))
    asked = inputs.draw_save_button(form, mode.first_button)
    st.caption(mode.first_caption)
    if _save(mode, form, typed, mode.first, asked=asked):
        st.rerun()


def must_wait_for_model(case: CaseView) -> bool:
    """Return whether the analysis is not finished and the reader did not choose to go on without it."""
    return formatting.pending(case.images) and not st.session_state.get(_name_no_wait(case))


@st.fragment(run_every=_POLL_SECONDS)
def show_wait_for_model(case: CaseView) -> None:
    """Say that the analysis is not finished, and look again until it is."""
    with resources.sessions().read() as session:
        ready = not formatting.pending(store.open_case.case_images(session, case.id))
    if ready:
        st.rerun()
    st.info("Your first opinion is saved. The analysis is not finished; the model's opinion appears here by itself.")
    if st.button("Finish without waiting"):
        st.session_state[_name_no_wait(case)] = True
        st.rerun()


def _name_no_wait(case: CaseView) -> str:
    return f"no-wait-{case.id}"


@st.fragment
def ask_final_opinion(case: CaseView, first: Read, mode: ReadingMode) -> None:
    """Show both opinions and ask for the last word."""
    form = mode.final_form
    form.mark_opened()
    model_opinion.opinions(case, first)
    st.markdown("##### Final opinion")
    choice = inputs.ask_label(form, inputs.offer_choices(first.opinion.label))
    typed = _ask_last_word(case, form, choice, first.opinion)
    asked = inputs.draw_save_button(form, "Save, next case")
    if _save(mode, form, typed, partial(mode.final, seen=model_opinion.shown(case)), asked=asked):
        mode.go_on()


@st.fragment
def ask_opinion_beside_model(case: CaseView, mode: ReadingMode) -> None:
    """Ask for the one opinion of a reader who sees the model's from the beginning."""
    form = mode.final_form
    form.mark_opened()
    model_opinion.model_opinion(case)
    st.markdown("##### Your opinion")
    typed = _ask_last_word(case, form, inputs.ask_label(form, inputs.ANY), None)
    asked = inputs.draw_save_button(form, "Save, next case")
    if _save(mode, form, typed, partial(mode.final, seen=model_opinion.shown(case)), asked=asked):
        mode.go_on()


@st.fragment
def show_saved_opinion(case: CaseView, reads: Sequence[Read]) -> None:
    """Show what was saved, with a way to the next case and a way to amend."""
    first, final = case.first_read, case.final_read
    if first is None or final is None:
        return
    form = ReadForm.amendment(case.id, final.id)
    model_opinion.opinions(case, first)
    st.markdown(f"Final &ensp; **{formatting.opinion_words(final.opinion)}**")
    model_opinion.history(case, reads)
    sign_off.draw_sign_off(case)
    if st.button("Next case", shortcut="N", type="primary", width="stretch"):
        routine(case).go_on()
    if not sign_off.is_signed(case) and st.toggle(
        "Amend the final opinion", key=form.widget_key("amend"), on_change=form.request_page
    ):
        _ask_amendment(case, form, final)
    case_report.case_export(case)
    if form.take_page_request():
        st.rerun()  # the tissue takes marks as long as the form is open


def show_unsaved_opinions(case: CaseView, mode: ReadingMode, reads: Sequence[Read]) -> None:
    """Show what was typed here while another window saved its own opinion, so that it is not lost."""
    forms = [(mode.first_form, "first")]
    forms += [(mode.final_form, "final")] if case.final_read else []
    forms += [(ReadForm.amendment(case.id, read.id), "final") for read in reads[1:-1]]
    for form, stage in forms:
        if not form.is_saved:
            drafts.keep(form)
        same = stage == "first" and case.first_read and form.matches(case.first_read.opinion)
        words = "" if same or form.is_saved else inputs.describe_typed(form)
        if words:
            st.warning(f"Another window saved your {stage} opinion. This was typed here and is not saved: {words}")


def _ask_amendment(case: CaseView, form: ReadForm, final: Read) -> None:
    form.mark_opened()
    typed = _ask_last_word(case, form, inputs.ask_label(form, inputs.ANY), final.opinion)
    if isinstance(typed, Opinion) and not typed.note:
        typed = "Say in the note why you amend it."
    asked = inputs.draw_save_button(form, "Save the amendment")
    amend = partial(store.reads.amend_read, case_id=case.id, replaces=final.id)
    if _save(routine(case), form, typed, amend, asked=asked):
        st.rerun()


def _ask_last_word(case: CaseView, form: ReadForm, choice: inputs.Choice | None, before: Opinion | None) -> Typed:
    confidence = inputs.ask_confidence(form, choice, before.confidence if before else None)
    subtype = _ask_subtype(form, choice, before)
    model = case.reveal.malignancy if case.reveal else None
    differs = choice is not None and None not in (choice.label, model) and choice.label != model
    reason = inputs.ask_reason(form) if differs else None
    typed = inputs.combine_opinion(choice, confidence, subtype, inputs.ask_note(form))
    vote = inputs.ask_vote(form) if model_opinion.has_map(case) else None
    if isinstance(typed, str):
        return typed
    if differs and reason is None:
        return "You differ from the model: choose a reason."
    if reason == "other" and not typed.note:
        return "Say in the note which other reason."
    return replace(typed, reason=reason, vote=vote)


def _ask_subtype(form: ReadForm, choice: inputs.Choice | None, before: Opinion | None) -> str | None:
    """Keep the subtype of an opinion that stays, and ask for one where there was none before."""
    label = choice.label if choice else None
    if before is None:
        return inputs.ask_subtype(form, label)
    return before.subtype if choice is not None and label == before.label else None


def _save(mode: ReadingMode, form: ReadForm, typed: Typed, record: Callable[..., Read], *, asked: bool) -> bool:
    """Save when asked to; what stands in the way is said here, beside the button, and nothing typed is lost."""
    spent = edit_time.count(form)
    drafts.keep(form)
    if isinstance(typed, str):
        if asked:
            st.error(typed)
        return False
    if not (asked if typed.label else inputs.ask_confirmation(form, asked=asked)):
        return saved.show_not_saved(form)
    reader, opened = resources.account().id, form.opened_at
    said = replace(typed, regions=form.marks)
    try:
        with resources.sessions().begin() as session:
            read = record(session, account_id=reader, opinion=said, opened_at=opened, edit_seconds=spent)
    except (CaseChangedError, ValueError) as error:
        form.keep_conflict(error)
        return saved.show_not_saved(form)
    saved.remember_read(mode.called, form, read)
    return True
