"""The fields of all opinions: label, confidence, subtype, note, reason, vote, and the button that saves."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.labels import BREAKHIS, Malignancy
from core.reading.identifying_words import find_identifying_reasons
from core.wording import count_words
from db.values.reading import REASONS, Opinion, Vote
from pages.ui import formatting
from pages.ui.reading.form_state import CONFIDENCES, LABELS, NOTE_LIMIT, Answer, ReadForm

_VOTE_KEYS = {Vote.YES: "Y", Vote.NO: "O", Vote.UNSURE: "U"}
_REASON_WORDS = dict(REASONS)
NOT_SAVED = "Entered here but not saved"


@dataclass(frozen=True, slots=True)
class LabelOption:
    """One answer that a reader can choose, and its key."""

    key: str
    words: str
    label: Malignancy | None


ALL_LABELS = tuple(LabelOption(key, formatting.label_words(label), label) for key, label in LABELS.items())
_CHOICE_WORDS = {choice.key: choice.words for choice in ALL_LABELS} | {"A": "keep mine", "D": "change mine"}


def list_final_options(mine: Malignancy | None) -> tuple[LabelOption, ...]:
    """Return the answers after the reveal: keep the first label, change it, or cannot assess."""
    keep = LabelOption("A", f"Keep mine: {formatting.label_words(mine)}", mine)
    if mine is None:
        return (keep, ALL_LABELS[0], ALL_LABELS[1])
    other: Malignancy = "benign" if mine == "malignant" else "malignant"
    return (keep, LabelOption("D", f"Change to {formatting.label_words(other)}", other), ALL_LABELS[2])


def ask_label(form: ReadForm, choices: Sequence[LabelOption]) -> LabelOption | None:
    """Ask for the label, with one button and one key for each answer."""
    chosen = form.choice
    pressed = [draw_answer(form, "choice", choice.key, choice.words, shortcut=choice.key) for choice in choices]
    if pressed.count(True) > 1:  # two keys in one round trip: their order is unknown, so neither counts
        form.choose("choice", None)
        st.error("Two answers arrived at the same time. Please choose again.")
        return None
    return next((choice for choice in choices if choice.key == chosen), None)


def ask_confidence(form: ReadForm, choice: LabelOption | None, before: int | None = None) -> int | None:
    """Ask how sure the reader is; return None without asking if the case cannot be assessed."""
    if choice is not None and choice.label is None:
        return None
    if before is not None:
        form.suggest_confidence(before)
    chosen = form.confidence
    words = CONFIDENCES[chosen] if chosen else "1 (a guess) to 5 (certain)"
    st.caption(f"Confidence: {words}")
    with st.container(key=form.container_key("confidence"), horizontal=True, gap="xsmall"):
        for number in CONFIDENCES:
            draw_answer(form, "confidence", number, str(number), shortcut=str(number))
    return chosen


def ask_subtype(form: ReadForm, label: Malignancy | None) -> str | None:
    """Ask for a subtype of the chosen label."""
    subtypes = [name for name in BREAKHIS.classes if label is not None and BREAKHIS.malignancy(name) == label]
    return st.selectbox(
        "Subtype",
        subtypes,
        index=None,
        format_func=formatting.subtype_words,
        placeholder="Subtype (optional)",
        disabled=not subtypes,  # drawn even so, because the form must not move when a label is chosen
        label_visibility="collapsed",
        key=form.subtype_key(label),
        persist_state="session",
    )


def ask_note(form: ReadForm, placeholder: str = "Note (optional)") -> str:
    """Ask for a free-text note, and warn of what may identify a patient."""
    note = st.text_area(
        "Note",
        placeholder=placeholder,
        height=68,
        max_chars=NOTE_LIMIT,
        label_visibility="collapsed",
        key=form.widget_key("note"),
        persist_state="session",
    )
    for reason in find_identifying_reasons(note):
        st.caption(f"! Contains {reason}. Notes must not identify the patient.")
    return note.strip()


def ask_reason(form: ReadForm) -> str | None:
    """Ask for the reason why the reader and the model differ."""
    return st.selectbox(
        "Why do you differ from the model?",
        list(_REASON_WORDS),
        index=None,
        format_func=_REASON_WORDS.__getitem__,
        placeholder="Why do you differ from the model?",
        label_visibility="collapsed",
        key=form.widget_key("reason"),
        persist_state="session",
    )


def ask_vote(form: ReadForm) -> Vote | None:
    """Ask whether the heat map was useful, with buttons: Enter does not save while a radio button has the focus."""
    with st.container(key=form.container_key("vote"), horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown("Map useful?", width="content")
        for vote, shortcut in _VOTE_KEYS.items():
            draw_answer(form, "vote", vote.value, vote.value.capitalize(), shortcut=shortcut)
    return form.vote


def draw_save_button(form: ReadForm, words: str) -> bool:
    """Draw the button that saves; Enter presses it, and inside the note Ctrl+Enter does."""
    pressed = st.button(words, key=form.widget_key("save"), shortcut="Enter", type="primary", width="stretch")
    with st.container(key="save-from-note"):
        return st.button("Save", key=form.widget_key("save-note"), shortcut="Ctrl+Enter") or pressed


def ask_confirmation(form: ReadForm, *, pressed: bool) -> bool:
    """Ask for confirmation before 'cannot assess' is saved; it has its own key, so that holding Enter cannot answer."""
    if pressed:
        form.request_confirmation()
    if not form.awaits_confirmation:
        return False
    st.warning("The case will be saved without a label.")
    return st.button("Yes, it cannot be assessed", key=form.widget_key("yes"), shortcut="S", width="stretch")


def combine_opinion(
    choice: LabelOption | None, confidence: int | None, subtype: str | None, note: str
) -> Opinion | str:
    """Return the opinion, or a sentence that says what is missing."""
    if choice is None:
        return "Choose one of the answers first."
    if choice.label is None:
        return Opinion(None, None, note=note)
    if confidence is None:
        return "Choose your confidence, 1 to 5."
    return Opinion(choice.label, confidence, subtype, note)


def describe_typed(form: ReadForm) -> str:
    """Write the entries of a form in one line; empty if the reader entered nothing."""
    chosen = _CHOICE_WORDS.get(form.choice or "", "")
    note = formatting.escape(form.note).strip()
    confidence = form.confidence  # may be the suggestion from the previous opinion
    sure = f"({confidence}/5)" if confidence and (chosen or note) else ""
    marks = len(form.marks) if chosen or note else 0
    return " ".join(filter(None, [chosen, sure, note, f"({count_words(marks, 'mark')})" if marks else ""]))


def show_unsaved(*forms: ReadForm) -> None:
    """Show the entries of forms that are no longer on the screen and can no longer be saved."""
    for form in forms:
        words = "" if form.is_saved else describe_typed(form)
        if words:
            st.warning(f"{NOT_SAVED}: {words}")


def draw_answer(form: ReadForm, field: Answer, value: str | int, words: str, *, shortcut: str) -> bool:
    """Draw one of several answers as a button with a key; return whether it was pressed."""
    chosen = form.is_chosen(field, value)
    return st.button(
        f"✓ {words}" if chosen else words,
        key=form.widget_key(f"{field}-{value}"),
        shortcut=shortcut,
        type="primary" if chosen else "secondary",
        width="stretch",
        on_click=form.choose,
        args=(field, value),
    )
