"""The fields of a first, a final and an amended opinion; what is typed outlives every rerun."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.labels import BREAKHIS, Malignancy
from core.reading.identifying_words import identifying
from db.values.reading import REASONS, Opinion, Vote
from pages.ui import formatting
from pages.ui.reading.read_form import CONFIDENCES, LABELS, NOTE_LIMIT, Answer, ReadForm

VOTE_KEYS = {Vote.YES: "Y", Vote.NO: "O", Vote.UNSURE: "U"}
_REASON_WORDS = dict(REASONS)


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer a reader can give, and the key that gives it."""

    key: str
    words: str
    label: Malignancy | None


ANY = tuple(Choice(key, formatting.label_words(label), label) for key, label in LABELS.items())
_CHOICE_WORDS = {choice.key: choice.words for choice in ANY} | {"A": "keep mine", "D": "change mine"}


def offer_choices(mine: Malignancy | None) -> tuple[Choice, ...]:
    """Offer to keep an opinion, to change it, or to withdraw it."""
    keep = Choice("A", f"keep mine: {formatting.label_words(mine)}", mine)
    if mine is None:
        return (keep, ANY[0], ANY[1])
    other: Malignancy = "benign" if mine == "malignant" else "malignant"
    return (keep, Choice("D", f"change to {formatting.label_words(other)}", other), ANY[2])


def ask_label(form: ReadForm, choices: Sequence[Choice]) -> Choice | None:
    """Ask for the label with one button and one key per answer."""
    chosen = form.choice
    pressed = [draw_answer(form, "choice", choice.key, choice.words, shortcut=choice.key) for choice in choices]
    if pressed.count(True) > 1:  # two keys within one round trip: their order is lost, so neither counts
        form.choose("choice", None)
        st.error("Two answers arrived at once: please choose again.")
        return None
    return next((choice for choice in choices if choice.key == chosen), None)


def ask_confidence(form: ReadForm, choice: Choice | None, before: int | None = None) -> int | None:
    """Ask how sure the reader is; nothing is asked where nothing could be assessed."""
    if choice is not None and choice.label is None:
        return None
    if before is not None:
        form.suggest_confidence(before)
    chosen = form.confidence
    words = CONFIDENCES[chosen] if chosen else "1 a guess … 5 certain"
    st.caption(f"Confidence: {words}")
    with st.container(key=form.container_key("confidence"), horizontal=True, gap="xsmall"):
        for number in CONFIDENCES:
            draw_answer(form, "confidence", number, str(number), shortcut=str(number))
    return chosen


def ask_subtype(form: ReadForm, label: Malignancy | None) -> str | None:
    """Offer the subtypes of the chosen label."""
    subtypes = [name for name in BREAKHIS.classes if label is not None and BREAKHIS.malignancy(name) == label]
    return st.selectbox(
        "Subtype",
        subtypes,
        index=None,
        format_func=formatting.subtype_words,
        placeholder="subtype (optional)",
        disabled=not subtypes,  # drawn all the same, so that nothing moves when a label is chosen
        label_visibility="collapsed",
        key=form.subtype_key(label),
        persist_state="session",
    )


def ask_note(form: ReadForm, placeholder: str = "note (optional)") -> str:
    """Ask for a note in the reader's own words."""
    note = st.text_area(
        "Note",
        placeholder=placeholder,
        height=68,
        max_chars=NOTE_LIMIT,
        label_visibility="collapsed",
        key=form.widget_key("note"),
        persist_state="session",
    )
    for what in identifying(note):
        st.caption(f"! looks like {what}: nothing in a note should say who the patient is")
    return note.strip()


def ask_reason(form: ReadForm) -> str | None:
    """Ask why the reader and the model differ."""
    return st.selectbox(
        "Why do you differ from the model?",
        list(_REASON_WORDS),
        index=None,
        format_func=_REASON_WORDS.__getitem__,
        placeholder="you differ from the model: why?",
        label_visibility="collapsed",
        key=form.widget_key("reason"),
        persist_state="session",
    )


def ask_vote(form: ReadForm) -> Vote | None:
    """Ask whether the heat map was useful; buttons, because Enter does not save while a radio has the focus."""
    with st.container(key=form.container_key("vote"), horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown("Map useful?", width="content")
        for vote, shortcut in VOTE_KEYS.items():
            draw_answer(form, "vote", vote.value, vote.value, shortcut=shortcut)
    return form.vote


def draw_save_button(form: ReadForm, words: str) -> bool:
    """Draw the one button that saves; Enter presses it, and Ctrl+Enter from inside the note."""
    pressed = st.button(words, key=form.widget_key("save"), shortcut="Enter", type="primary", width="stretch")
    with st.container(key="save-from-note"):
        return st.button("Save", key=form.widget_key("save-note"), shortcut="Ctrl+Enter") or pressed


def ask_confirmation(form: ReadForm, *, asked: bool) -> bool:
    """Ask once more before 'cannot assess' is saved; on a key of its own, so that holding Enter cannot answer."""
    if asked:
        form.request_confirmation()
    if not form.awaits_confirmation:
        return False
    st.warning("This saves no label for the case.")
    return st.button("Yes, it cannot be assessed", key=form.widget_key("yes"), shortcut="S", width="stretch")


def combine_opinion(choice: Choice | None, confidence: int | None, subtype: str | None, note: str) -> Opinion | str:
    """Put an opinion together, or say what is missing."""
    if choice is None:
        return "Choose an answer first."
    if choice.label is None:
        return Opinion(None, None, note=note)
    if confidence is None:
        return "Say how sure you are: 1 to 5."
    return Opinion(choice.label, confidence, subtype, note)


def describe_typed(form: ReadForm) -> str:
    """Write in words what stands in a form that is no longer on the screen; nothing if nobody typed anything."""
    chosen = _CHOICE_WORDS.get(form.choice or "", "")
    note = formatting.plain(form.note).strip()
    confidence = form.confidence  # may be that of the opinion before
    sure = f"({confidence}/5)" if confidence and (chosen or note) else ""
    marked = len(form.marks) if chosen or note else 0
    return " ".join(filter(None, [chosen, sure, note, f"({marked} marked)" if marked else ""]))


def show_unsaved(*forms: ReadForm) -> None:
    """Show what was typed into forms that are no longer on the screen and cannot be saved any more."""
    for form in forms:
        words = "" if form.is_saved else describe_typed(form)
        if words:
            st.warning(f"This was typed here and is not saved: {words}")


def draw_answer(form: ReadForm, field: Answer, value: str | int, words: str, *, shortcut: str) -> bool:
    """Draw one answer of several as a button with a key."""
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
