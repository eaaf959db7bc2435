"""The forms of a first, a final and an amended opinion; what is typed outlives every rerun."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.identifiers import identifying
from core.labels import BREAKHIS, Malignancy
from db.reading_values import REASONS
from db.values import Opinion, Vote
from pages.ui import panels

CONFIDENCES = {1: "a guess", 2: "unsure", 3: "fairly sure", 4: "sure", 5: "certain"}
VOTE_KEYS = {Vote.YES: "Y", Vote.NO: "O", Vote.UNSURE: "U"}
_REASON_WORDS = dict(REASONS)
NOTE_LIMIT = 2_000  # characters


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer a reader can give, and the key that gives it."""

    key: str
    words: str
    label: Malignancy | None


ANY = (
    Choice("B", panels.label_words("benign"), "benign"),
    Choice("M", panels.label_words("malignant"), "malignant"),
    Choice("X", panels.label_words(None), None),
)
_CHOICE_WORDS = {choice.key: choice.words for choice in ANY} | {"A": "keep mine", "D": "change mine"}


def choices_after(mine: Malignancy | None) -> tuple[Choice, ...]:
    """Offer to keep an opinion, to change it, or to withdraw it."""
    keep = Choice("A", f"keep mine: {panels.label_words(mine)}", mine)
    if mine is None:
        return (keep, ANY[0], ANY[1])
    other: Malignancy = "benign" if mine == "malignant" else "malignant"
    return (keep, Choice("D", f"change to {panels.label_words(other)}", other), ANY[2])


def label_input(key: str, choices: Sequence[Choice]) -> Choice | None:
    """Ask for the label with one button and one key per answer."""
    chosen: str | None = st.session_state.get(f"{key}-choice")
    pressed = [toggle(f"{key}-choice", choice.key, choice.words, shortcut=choice.key) for choice in choices]
    if pressed.count(True) > 1:  # two keys within one round trip: their order is lost, so neither counts
        _choose(f"{key}-choice", None)
        st.error("Two answers arrived at once: please choose again.")
        return None
    return next((choice for choice in choices if choice.key == chosen), None)


def chosen_label(key: str) -> Malignancy | None:
    """Give the label that is chosen in a first form; None if none is, or nothing can be assessed."""
    chosen: str | None = st.session_state.get(f"{key}-choice")
    return next((choice.label for choice in ANY if choice.key == chosen), None)


def confidence_input(key: str, choice: Choice | None, before: int | None = None) -> int | None:
    """Ask how sure the reader is; nothing is asked where nothing could be assessed."""
    if choice is not None and choice.label is None:
        return None
    name = f"{key}-confidence"
    if before is not None:
        st.session_state.setdefault(name, before)
    chosen: int | None = st.session_state.get(name)
    words = CONFIDENCES[chosen] if chosen else "1 a guess … 5 certain"
    st.caption(f"Confidence: {words}")
    with st.container(key=f"confidence-{key}", horizontal=True, gap="xsmall"):
        for number in CONFIDENCES:
            toggle(name, number, str(number), shortcut=str(number))
    return chosen


def subtype_input(key: str, label: Malignancy | None) -> str | None:
    """Offer the subtypes of the chosen label."""
    subtypes = [name for name in BREAKHIS.classes if label is not None and BREAKHIS.malignancy(name) == label]
    return st.selectbox(
        "Subtype",
        subtypes,
        index=None,
        format_func=panels.subtype_words,
        placeholder="subtype (optional)",
        disabled=not subtypes,  # drawn all the same, so that nothing moves when a label is chosen
        label_visibility="collapsed",
        key=f"{key}-subtype-{label}",
        persist_state="session",
    )


def note_input(key: str, placeholder: str = "note (optional)") -> str:
    """Ask for a note in the reader's own words."""
    note = st.text_area(
        "Note",
        placeholder=placeholder,
        height=68,
        max_chars=NOTE_LIMIT,
        label_visibility="collapsed",
        key=f"{key}-note",
        persist_state="session",
    )
    for what in identifying(note):
        st.caption(f"! looks like {what}: nothing in a note should say who the patient is")
    return note.strip()


def reason_input(key: str) -> str | None:
    """Ask why the reader and the model differ."""
    return st.selectbox(
        "Why do you differ from the model?",
        list(_REASON_WORDS),
        index=None,
        format_func=_REASON_WORDS.__getitem__,
        placeholder="you differ from the model: why?",
        label_visibility="collapsed",
        key=f"{key}-reason",
        persist_state="session",
    )


def vote_input(key: str) -> Vote | None:
    """Ask whether the heat map was useful; buttons, because Enter does not save while a radio has the focus."""
    name = f"{key}-vote"
    with st.container(key=f"vote-{key}", horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown("Map useful?", width="content")
        for vote, shortcut in VOTE_KEYS.items():
            toggle(name, vote.value, vote.value, shortcut=shortcut)
    chosen: str | None = st.session_state.get(name)
    return Vote(chosen) if chosen else None


def save_pressed(key: str, words: str) -> bool:
    """Draw the one button that saves; Enter presses it, and Ctrl+Enter from inside the note."""
    pressed = st.button(words, key=f"{key}-save", shortcut="Enter", type="primary", width="stretch")
    with st.container(key="save-from-note"):
        return st.button("Save", key=f"{key}-save-note", shortcut="Ctrl+Enter") or pressed


def confirmed(key: str, *, asked: bool) -> bool:
    """Ask once more before 'cannot assess' is saved; on a key of its own, so that holding Enter cannot answer."""
    if asked:
        st.session_state[f"{key}-confirm"] = True
    if not st.session_state.get(f"{key}-confirm"):
        return False
    st.warning("This saves no label for the case.")
    return st.button("Yes, it cannot be assessed", key=f"{key}-yes", shortcut="S", width="stretch")


def opinion_of(choice: Choice | None, confidence: int | None, subtype: str | None, note: str) -> Opinion | str:
    """Put an opinion together, or say what is missing."""
    if choice is None:
        return "Choose an answer first."
    if choice.label is None:
        return Opinion(None, None, note=note)
    if confidence is None:
        return "Say how sure you are: 1 to 5."
    return Opinion(choice.label, confidence, subtype, note)


def typed_words(key: str) -> str:
    """Write in words what stands in a form that is no longer on the screen; nothing if nobody typed anything."""
    chosen = _CHOICE_WORDS.get(st.session_state.get(f"{key}-choice") or "", "")
    note = panels.plain(st.session_state.get(f"{key}-note") or "").strip()
    confidence = st.session_state.get(f"{key}-confidence")  # may be that of the opinion before
    sure = f"({confidence}/5)" if confidence and (chosen or note) else ""
    marked = len(st.session_state.get(f"{key}-marks") or ()) if chosen or note else 0
    return " ".join(filter(None, [chosen, sure, note, f"({marked} marked)" if marked else ""]))


def typed_the_same(key: str, saved: Opinion) -> bool:
    """Say whether a first form says what was saved: then nothing of it is lost."""
    confidence, note = st.session_state.get(f"{key}-confidence"), st.session_state.get(f"{key}-note") or ""
    chosen = f"{key}-choice" in st.session_state
    return chosen and (chosen_label(key), confidence, note.strip()) == (saved.label, saved.confidence, saved.note)


def toggle(name: str, value: str | int, words: str, *, shortcut: str) -> bool:
    """Draw one answer of several as a button with a key; the one that is chosen stands in the session as `name`."""
    chosen = st.session_state.get(name) == value
    return st.button(
        f"✓ {words}" if chosen else words,
        key=f"{name}-{value}",
        shortcut=shortcut,
        type="primary" if chosen else "secondary",
        width="stretch",
        on_click=_choose,
        args=(name, value),
    )


def _choose(name: str, value: str | int | None) -> None:
    st.session_state[name] = value
