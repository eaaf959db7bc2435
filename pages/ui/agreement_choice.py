"""What of the agreement is looked at: which cases, which view, which reference labels, which cases behind a figure."""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.labels import Malignancy
from core.results import Reading
from pages.ui import panels
from pages.ui.agreement_values import Behind

READER_MODEL, READER_READER, REVEAL, HABITS = VIEWS = (
    "Reader and model",
    "Reader and reader",
    "Effect of the reveal",
    "Time and maps",
)
CLICKS = "agreement-clicks"  # in the session: a new key after each click, so that the same cell takes another one
_KINDS = {False: "uploaded cases", True: "generated demo cases"}
_EVERY = "uploaded and demo cases"
_WIDTH = 220  # px


def view() -> str:
    """Ask what is compared."""
    return st.segmented_control(
        "What is compared",
        VIEWS,
        default=READER_MODEL,
        required=True,
        key="agreement-view",
        label_visibility="collapsed",
        persist_state="session",
    )


def narrowed(readings: Sequence[Reading]) -> list[Reading]:
    """Ask for kind of case, magnification and model, and give the readings of those; demo cases stay apart at first."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        kinds = [_KINDS[one] for one in sorted({one.demonstration for one in readings})]
        kind = _choose("Cases", [*kinds, _EVERY] if len(kinds) > 1 else kinds, _EVERY, first=0)
        magnification = _choose(
            "Magnification", sorted({_magnification(one) for one in readings}), "every magnification"
        )
        versions = sorted({one.model_version for one in readings if one.model_version})
        version = _choose("Model", versions, "every model") if len(versions) > 1 else None
    return [
        one
        for one in readings
        if kind in (_EVERY, _KINDS[one.demonstration])
        and magnification in (None, _magnification(one))
        and version in (None, one.model_version)
    ]


def behind(found: Sequence[Behind]) -> Behind:
    """Ask which figure's cases are shown; a click on a figure answers it too."""
    by_words = {each.words: each for each in found}
    key = _key()
    forget_unless_among(key, list(by_words))
    return by_words[
        st.selectbox(
            "Cases behind a figure: click on it, or choose here", list(by_words), key=key, persist_state="session"
        )
    ]


def forget_unless_among(key: str, options: Sequence[str]) -> None:
    """Drop a choice that the filters have taken away, before its widget is drawn."""
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)


def show(chosen: Behind) -> None:
    """Turn to the cases behind a figure; to be called before the choice is drawn."""
    st.session_state[CLICKS] = st.session_state.get(CLICKS, 0) + 1
    st.session_state[_key()] = chosen.words


def shown() -> str | None:
    """Name the figure whose cases are shown."""
    words: str | None = st.session_state.get(_key())
    return words


def reference_words(reading: Reading, labels: Mapping[int, Malignancy]) -> str:
    """Write the reference label of a reading's case."""
    label = labels.get(reading.case_id)
    return panels.label_words(label) if label else "–"


def _key() -> str:
    return f"agreement-behind-{st.session_state.get('agreement-view')}"


def _choose(label: str, options: Sequence[str], every: str, *, first: int | None = None) -> str | None:
    key = f"agreement-{label}"
    forget_unless_among(key, options)
    return st.selectbox(
        label,
        options,
        index=first,
        placeholder=every,
        key=key,
        label_visibility="collapsed",
        persist_state="session",
        width=_WIDTH,
    )


def _magnification(reading: Reading) -> str:
    return panels.magnification_words(reading.magnification)
