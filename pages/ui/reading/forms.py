"""The forms beside the tissue: first opinion, final opinion, opinion with the model visible, and amendment."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.values.reading import CaseView, Opinion, Read
from pages.ui import formatting, resources
from pages.ui.reading import case_report, drafts, edit_time, inputs, model_opinion, saved, sign_off
from pages.ui.reading.form_state import ReadForm
from pages.ui.reading.mode import ReadingMode, make_routine_mode

_POLL_SECONDS = 2
_SAVE_FINAL = "Save and open next case"
_WAITING = "Your first opinion is saved. The analysis is not finished yet; the model's opinion will appear here."
_NO_REASON = "Your opinion differs from the model's. Choose a reason."
_REASON_WITHOUT_NOTE = "Describe the other reason in the note."
_AMENDMENT_WITHOUT_NOTE = "Explain the amendment in the note."

Entry = Opinion | str  # a complete opinion, or what is still missing


@st.fragment
def ask_first_opinion(mode: ReadingMode) -> None:
    """Ask for the blind opinion; the store returns nothing of the model before it is saved."""
    form = mode.first_form
    form.mark_opened()
    st.markdown(f"##### {mode.first_title}")
    choice = inputs.ask_label(form, inputs.ALL_LABELS)
    confidence = inputs.ask_confidence(form, choice)
    subtype = inputs.ask_subtype(form, choice.label if choice else None)
    entry = inputs.combine_opinion(choice, confidence, subtype, inputs.ask_note(form))
    pressed = inputs.draw_save_button(form, mode.first_button)
    st.caption(mode.first_caption)
    if _save(mode, form, entry, mode.first, pressed=pressed):
        st.rerun()


def must_wait_for_model(case: CaseView) -> bool:
    """Return whether the analysis is unfinished and the reader has not chosen to continue without it."""
    return formatting.is_pending(case.images) and not st.session_state.get(_no_wait_key(case))


@st.fragment(run_every=_POLL_SECONDS)
def show_wait_for_model(case: CaseView) -> None:
    """Show that the analysis is unfinished, and check again until it is finished."""
    with resources.sessions().read() as session:
        ready = not formatting.is_pending(store.open_case.case_images(session, case.id))
    if ready:
        st.rerun()
    st.info(_WAITING)
    if st.button("Continue without waiting"):
        st.session_state[_no_wait_key(case)] = True
        st.rerun()


def _no_wait_key(case: CaseView) -> str:
    return f"no-wait-{case.id}"


@st.fragment
def ask_final_opinion(case: CaseView, first: Read, mode: ReadingMode) -> None:
    """Show both opinions and ask for the final one."""
    form = mode.final_form
    form.mark_opened()
    model_opinion.draw_both_opinions(case, first)
    st.markdown("##### Final opinion")
    choice = inputs.ask_label(form, inputs.list_final_options(first.opinion.label))
    entry = _ask_final_fields(case, form, choice, first.opinion)
    pressed = inputs.draw_save_button(form, _SAVE_FINAL)
    if _save(mode, form, entry, partial(mode.final, seen=case.on_screen), pressed=pressed):
        mode.go_on()


@st.fragment
def ask_opinion_beside_model(case: CaseView, mode: ReadingMode) -> None:
    """Ask for the only opinion of a reader who sees the model's from the beginning."""
    form = mode.final_form
    form.mark_opened()
    model_opinion.draw_model_opinion(case)
    st.markdown("##### Your opinion")
    entry = _ask_final_fields(case, form, inputs.ask_label(form, inputs.ALL_LABELS), None)
    pressed = inputs.draw_save_button(form, _SAVE_FINAL)
    if _save(mode, form, entry, partial(mode.final, seen=case.on_screen), pressed=pressed):
        mode.go_on()


@st.fragment
def show_saved_opinion(case: CaseView, reads: Sequence[Read]) -> None:
    """Show the saved opinions, and offer the next case, sign-off, amendment and export."""
    first, final = case.first_read, case.final_read
    if first is None or final is None:
        return
    form = ReadForm.amendment(case.id, final.id)
    model_opinion.draw_both_opinions(case, first)
    st.markdown(f"Final &ensp; **{formatting.opinion_words(final.opinion)}**")
    model_opinion.draw_history(case, reads)
    sign_off.draw_sign_off(case)
    if st.button("Next case", shortcut="N", type="primary", width="stretch"):
        make_routine_mode(case).go_on()
    if not sign_off.is_signed(case) and st.toggle(
        "Amend final opinion", key=form.widget_key("amend"), on_change=form.request_page
    ):
        _ask_amendment(case, form, final)
    case_report.draw_case_export(case)
    if form.take_page_request():
        st.rerun()  # the viewer accepts marks only while the form is open


def show_unsaved_opinions(case: CaseView, mode: ReadingMode, reads: Sequence[Read]) -> None:
    """Show the entries of this window that another window's opinion has overtaken, so that they are not lost."""
    forms = [(mode.first_form, "first")]
    forms += [(mode.final_form, "final")] if case.final_read else []
    forms += [(ReadForm.amendment(case.id, read.id), "final") for read in reads[1:-1]]
    for form, stage in forms:
        if not form.is_saved:
            drafts.keep(form)
        same = stage == "first" and case.first_read and form.matches(case.first_read.opinion)
        words = "" if same or form.is_saved else inputs.describe_typed(form)
        if words:
            st.warning(f"Your {stage} opinion was saved in another window. {inputs.NOT_SAVED}: {words}")


def _ask_amendment(case: CaseView, form: ReadForm, final: Read) -> None:
    form.mark_opened()
    entry = _ask_final_fields(case, form, inputs.ask_label(form, inputs.ALL_LABELS), final.opinion)
    if isinstance(entry, Opinion) and not entry.note:
        entry = _AMENDMENT_WITHOUT_NOTE
    pressed = inputs.draw_save_button(form, "Save amendment")
    amend = partial(store.reads.amend_read, case_id=case.id, replaces=final.id)
    if _save(make_routine_mode(case), form, entry, amend, pressed=pressed):
        st.rerun()


def _ask_final_fields(
    case: CaseView, form: ReadForm, choice: inputs.LabelOption | None, before: Opinion | None
) -> Entry:
    """Ask for everything below the label; `before` is the opinion that the new one follows, if there is one."""
    confidence = inputs.ask_confidence(form, choice, before.confidence if before else None)
    subtype = _ask_subtype(form, choice, before)
    model = case.reveal.malignancy if case.reveal else None
    differs = choice is not None and None not in (choice.label, model) and choice.label != model
    reason = inputs.ask_reason(form) if differs else None
    entry = inputs.combine_opinion(choice, confidence, subtype, inputs.ask_note(form))
    vote = inputs.ask_vote(form) if model_opinion.has_map(case) else None
    if isinstance(entry, str):
        return entry
    if differs and reason is None:
        return _NO_REASON
    if reason == "other" and not entry.note:
        return _REASON_WITHOUT_NOTE
    return replace(entry, reason=reason, vote=vote)


def _ask_subtype(form: ReadForm, choice: inputs.LabelOption | None, before: Opinion | None) -> str | None:
    """Ask for the subtype if there is no opinion before; otherwise keep it as long as the label stays the same."""
    label = choice.label if choice else None
    if before is None:
        return inputs.ask_subtype(form, label)
    return before.subtype if choice is not None and label == before.label else None


def _save(mode: ReadingMode, form: ReadForm, entry: Entry, record: Callable[..., Read], *, pressed: bool) -> bool:
    """Save when the button was pressed; show beside it what prevents saving, and lose none of the entries."""
    spent = edit_time.add_edit_time(form)
    drafts.keep(form)
    if isinstance(entry, str):
        if pressed:
            st.error(entry)
        return False
    if not (pressed if entry.label else inputs.ask_confirmation(form, pressed=pressed)):
        return saved.show_not_saved(form)
    reader, opened = resources.account().id, form.opened_at
    opinion = replace(entry, regions=form.marks)
    try:
        with resources.sessions().begin() as session:
            read = record(session, account_id=reader, opinion=opinion, opened_at=opened, edit_seconds=spent)
    except (CaseChangedError, ValueError) as error:
        form.keep_conflict(error)
        return saved.show_not_saved(form)
    saved.remember_read(mode.called, form, read)
    return True
