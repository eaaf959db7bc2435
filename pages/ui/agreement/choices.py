"""What the Agreement page shows: which cases, which view, and which reference labels."""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.labels import Malignancy
from core.reading.reference_labels import UnreadableReferencesError, read_references
from core.results import Reading
from db import store
from db.values.adjudication import AdjudicatedLabels
from pages.ui import formatting, resources
from pages.ui.agreement.figures import Behind

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

_ADJUDICATED, _FILE, _NONE = "adjudicated labels", "a CSV file", "none"


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
    return formatting.label_words(label) if label else "–"


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
    return formatting.magnification_words(reading.magnification)


def references(readings: Sequence[Reading]) -> Mapping[int, Malignancy]:
    """Ask for reference labels of the finished cases, those adjudicated here unless another source is chosen."""
    account = resources.account().id
    with resources.sessions().read() as session:
        adjudicated = store.adjudication.adjudicated_labels(session, account)
    cases = {one.case_id for one in readings}
    known = {case_id: label for case_id, label in adjudicated.labels.items() if case_id in cases}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.popover("Reference labels"):
            source = _source(offered=bool(known))
            file = _file() if source == _FILE else None
        if source == _ADJUDICATED and known:
            st.caption(_adjudicated_words(known, adjudicated, len(cases)))
            return known
        if file is not None:
            found = _of_file(file[1], readings)
            st.caption(_file_words(file[0], len(found), len(cases)))
            return found
    return {}


def _source(*, offered: bool) -> str:
    options = [_ADJUDICATED, _FILE, _NONE] if offered else [_FILE]
    if len(options) == 1:
        return options[0]
    return st.radio("What is taken as right", options, key="agreement-reference-source", persist_state="session")


def _file() -> tuple[str, bytes] | None:
    st.markdown("A CSV file with the columns `case` and `label` (benign, malignant, or a class of BreaKHis).")
    file = st.file_uploader("Reference labels", "csv", key="agreement-references", label_visibility="collapsed")
    st.caption("They are not stored, and are forgotten with this session.")
    return (file.name, file.getvalue()) if file else None


def _of_file(data: bytes, readings: Sequence[Reading]) -> dict[int, Malignancy]:
    try:
        labels = read_references(data)
    except UnreadableReferencesError as error:
        st.error(f"These reference labels cannot be used: {formatting.plain(str(error))}.")
        return {}
    found = {one.case_id: labels[one.accession] for one in readings if one.accession in labels}
    if not found:
        st.warning("None of the cases here is named in the file of reference labels.")
    return found


def _adjudicated_words(known: Mapping[int, Malignancy], adjudicated: AdjudicatedLabels, cases: int) -> str:
    settled = len(adjudicated.by_consensus & known.keys())
    words = f"Reference: adjudicated labels of {len(known):,} of {cases:,} cases, {settled:,} by consensus"
    signed = len(known) - settled
    if signed:
        # What all readers say in the end is signed as it is; who moved to it was then right, whatever is true.
        words += f", {signed:,} signed out without one: there the readers' last opinion is right by definition"
    return f"{words}."


def _file_words(name: str, found: int, cases: int) -> str:
    return f"Reference: {formatting.plain(name)}, {found:,} of {cases:,} cases."
