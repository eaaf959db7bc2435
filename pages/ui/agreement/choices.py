"""Ask what the Agreement page shows: which cases, which view, and which reference labels."""

from collections.abc import Sequence

import streamlit as st

from core.identifiers import fold_identifier
from core.labels import Malignancy
from core.reading.agreement import count_cases
from core.reading.reference_labels import UnreadableReferencesError, read_references
from core.results import Reading
from core.wording import count_words
from db import store
from db.values.agreement import ReadingFilter
from pages.ui import formatting, resources
from pages.ui.agreement.counted import Counted, count_alike
from pages.ui.agreement.figures import FigureReadings

READER_MODEL, READER_READER, REVEAL, HABITS = VIEWS = (
    "Reader and model",
    "Reader and reader",
    "Effect of the reveal",
    "Time and maps",
)
# Session key of the number of clicks: charts have it in their keys, so that the same cell can be clicked again.
CLICKS = "agreement-clicks"
_KINDS = {False: "uploaded cases", True: "generated demo cases"}
_ALL_KINDS = "uploaded and demo cases"
_WIDTH = 220  # px
_TABLES = ("csv", "tsv", "txt", "xlsx")
_ADJUDICATED, _FILE, _NONE = "adjudicated labels", "a file", "none"


def ask_filter(readings: Sequence[Reading]) -> ReadingFilter:
    """Ask for a kind of case, a magnification and a model; demo cases are kept apart."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        kinds = [_KINDS[one] for one in sorted({one.demonstration for one in readings})]
        kind = _ask_filter("Cases", [*kinds, _ALL_KINDS] if len(kinds) > 1 else kinds, _ALL_KINDS, first=0)
        magnification = _ask_filter(
            "Magnification", sorted({_magnification(one) for one in readings}), "all magnifications"
        )
        versions = sorted({one.model_version for one in readings if one.model_version})
        version = _ask_filter("Model", versions, "all models") if len(versions) > 1 else None
    powers = frozenset(one.magnification for one in readings if _magnification(one) == magnification)
    return ReadingFilter(
        demonstration=None if kind == _ALL_KINDS else kind == _KINDS[True],
        magnifications=powers if magnification is not None else None,
        model_version=version,
    )


def _ask_filter(label: str, options: Sequence[str], placeholder: str, *, first: int | None = None) -> str | None:
    key = f"agreement-{label}"
    forget_unless_among(key, options)
    return st.selectbox(
        label,
        options,
        index=first,
        placeholder=placeholder,
        key=key,
        label_visibility="collapsed",
        persist_state="session",
        width=_WIDTH,
    )


def _magnification(reading: Reading) -> str:
    return formatting.magnification_words(reading.magnification)


def ask_view() -> str:
    """Ask which agreement to show: one of `VIEWS`."""
    return st.segmented_control(
        "What is compared",
        VIEWS,
        default=READER_MODEL,
        required=True,
        key="agreement-view",
        label_visibility="collapsed",
        persist_state="session",
    )


def ask_references(counted: Counted) -> Counted:
    """Ask for reference labels of the finished cases, and return these with them.

    By default, they are the labels adjudicated here, which they have already.
    """
    known, cases = counted.count_references(), count_cases(counted.readings)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.popover("Reference labels"):
            source = _ask_source(offered=bool(known))
            file = _ask_file() if source == _FILE else None
        if source == _ADJUDICATED and known:
            st.caption(_adjudicated_words(known, counted.count_references(by_consensus=True), cases))
            return counted
        if file is not None:
            labelled = count_alike(counted.comparison, counted.wanted, _read_labels(file[1]))
            st.caption(_file_words(file[0], labelled.count_references(), cases))
            if not labelled.count_references():
                st.warning("The file of reference labels does not name any of these cases.")
            return labelled
    return counted.without_references()


def _ask_source(*, offered: bool) -> str:
    options = [_ADJUDICATED, _FILE, _NONE] if offered else [_FILE]
    if len(options) == 1:
        return options[0]
    return st.radio("Reference", options, key="agreement-reference-source", persist_state="session")


def _ask_file() -> tuple[str, bytes] | None:
    st.markdown(
        "A CSV file or an Excel workbook with the columns `case` and `label` (benign, malignant, or a BreaKHis class)."
    )
    file = st.file_uploader("Reference labels", _TABLES, key="agreement-references", label_visibility="collapsed")
    st.caption("They are not stored, and are discarded when this session ends.")
    return (file.name, file.getvalue()) if file else None


def _read_labels(data: bytes) -> dict[int, Malignancy]:
    try:
        labels = read_references(data)
    except UnreadableReferencesError as error:
        st.error(f"These reference labels cannot be used: {formatting.escape(str(error))}.")
        return {}
    by_number = {fold_identifier(accession): label for accession, label in labels.items()}
    account = resources.account().id
    with resources.sessions().read() as session:
        named = store.agreement.cases_named(session, account, by_number.keys())
    return {case_id: by_number[number] for case_id, number in named.items()}


def _adjudicated_words(known: int, settled: int, cases: int) -> str:
    words = f"Reference: adjudicated labels of {known:,} of {count_words(cases, 'case')}, {settled:,} by consensus"
    unanimous = known - settled
    if unanimous:
        # The label on which all readers ended becomes the reference: a reader who moved to it counts as right.
        words += f", {unanimous:,} signed off unanimously, where the readers' last opinion counts as correct"
    return f"{words}."


def _file_words(name: str, known: int, cases: int) -> str:
    return f"Reference: {formatting.escape(name)}, {known:,} of {count_words(cases, 'case')}."


def ask_figure(figures: Sequence[FigureReadings]) -> FigureReadings:
    """Ask which figure's cases to show; a click on a figure chooses it too."""
    by_words = {each.words: each for each in figures}
    key = _figure_key()
    forget_unless_among(key, list(by_words))
    return by_words[
        st.selectbox("Cases behind a number: click it or choose here", list(by_words), key=key, persist_state="session")
    ]


def choose_figure(chosen: FigureReadings) -> None:
    """Switch to the cases behind a figure; call it before the choice is drawn."""
    st.session_state[CLICKS] = st.session_state.get(CLICKS, 0) + 1
    st.session_state[_figure_key()] = chosen.words


def chosen_figure() -> str | None:
    """Return the words of the figure whose cases are shown."""
    words: str | None = st.session_state.get(_figure_key())
    return words


def _figure_key() -> str:
    return f"agreement-behind-{st.session_state.get('agreement-view')}"


def reference_words(label: Malignancy | None) -> str:
    """Write the reference label of a case."""
    return formatting.label_words(label) if label else "–"


def forget_unless_among(key: str, options: Sequence[str]) -> None:
    """Drop a choice that the filters no longer offer, before its widget is drawn."""
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
