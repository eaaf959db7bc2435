"""The four views of agreement: the figures of each, and in words what they are."""

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.labels import Malignancy
from core.reading.agreement import reader_couples
from core.results import Reading
from db.values.accounts import Permission
from pages.ui import csv_tables, resources
from pages.ui.agreement import choices, figures
from pages.ui.agreement.choices import HABITS, READER_MODEL, READER_READER, REVEAL
from pages.ui.agreement.figures import Matrix, Table
from pages.ui.downloads import offer_made
from pages.ui.without_names import readings_without_names

_RATE = "Rate with Wilson's 95 % interval and n; "
_NOTES = {
    READER_MODEL: _RATE + "then Cohen's kappa, its interval from resampled cases. The model is what stood on the "
    "reader's screen; after the reveal counts what stands now.",
    READER_READER: _RATE + "then Cohen's kappa, and the quadratic-weighted kappa of ten grades from certainly benign "
    "to certainly malignant; intervals of kappa from resampled cases.",
    REVEAL: "Shares of all reads that gave a label before and after, with Wilson's 95 % interval. The final read "
    "counts as it was first saved; an amendment may know more.",
    HABITS: "Median seconds from opening to saving, by the server's clock, between two reads that hold it with 95 %; "
    "maps: of the votes cast; amended: of the final reads.",
}
_TOGETHER = " All readers together: reads of one case are not independent, so their interval is somewhat too narrow."
_ALONE = "Only one reader has read these cases. Agreement of readers needs a second one who reads the same."
_NO_REFERENCE = " Without reference labels nobody knows who was right: the figures tell who moved to the model."
_DASH = "A dash: cannot be told from these reads."
_ONCE = " No reader has read a case a second time; an amendment is none."


def table_of(view: str, readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> Table:
    """Measure what a view tells."""
    if view == READER_MODEL:
        return figures.reader_model(readings)
    if view == READER_READER:
        return figures.reader_reader(readings)
    if view == REVEAL:
        return figures.reveal(readings, references)
    return figures.reading_habits(readings)


def halves(view: str) -> tuple[DeltaGenerator, DeltaGenerator]:
    """Give a place for matrices beside one for cases, or below each other where a view has no matrix."""
    if view in (READER_MODEL, READER_READER):
        left, right = st.columns([1, 2.2], gap="medium")
        return left, right
    return st.container(), st.container()


def matrices_of(view: str, readings: Sequence[Reading]) -> list[Matrix]:
    """Ask whose matrices are looked at, and count them; two of the views have none."""
    if view == READER_MODEL:
        names = [name for name, _ in figures.by_reader(readings)]
        chosen = _whose(names) if len(names) > 1 else names[0]
        return figures.model_matrices(readings, chosen)
    couples = {figures.couple_words(couple): couple for couple in reader_couples(readings)}
    if view != READER_READER or not couples:
        return []
    return figures.couple_matrices(readings, couples[_whose(list(couples))])


def note(view: str, table: Table, readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> None:
    """Say in words how the figures of a view were made."""
    several = len({one.reader for one in readings}) > 1
    words = _NOTES[view] + (_TOGETHER if several and view != READER_READER else "")
    if view == READER_READER:
        words += "" if any(one.iteration > 1 for one in readings) else _ONCE
    if view == REVEAL and not references:
        words += _NO_REFERENCE
    if table.left_out:
        words += f" Left out: {table.left_out:,} without a label to compare."
    if view == READER_READER and not several:
        st.markdown(_ALONE)
    st.caption(f"{words} {_DASH}")


def downloads(readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> None:
    """Offer the figures of all views and the readings behind them as CSV files, without names unless asked for."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        named = resources.may(Permission.PLAN_READING) and st.toggle("Files with names", key="agreement-named")
        how = "with names" if named else "de-identified"
        make_figures, make_readings = (
            partial(make, readings, references, named=named) for make in (_figures, _readings)
        )
        offer_made("Figures as CSV", f"agreement figures, {how}", make_figures, "agreement.csv")
        offer_made("Readings as CSV", f"agreement readings, {how}", make_readings, "readings.csv")


def _readings(readings: Sequence[Reading], references: Mapping[int, Malignancy], *, named: bool) -> bytes:
    return csv_tables.readings_csv(readings if named else readings_without_names(readings), references).data


def _whose(names: Sequence[str]) -> str:
    key = f"agreement-whose-{st.session_state['agreement-view']}"
    choices.forget_unless_among(key, names)
    return st.selectbox("Matrices of", names, key=key, label_visibility="collapsed", persist_state="session")


def _figures(readings: Sequence[Reading], references: Mapping[int, Malignancy], *, named: bool) -> bytes:
    known = readings if named else readings_without_names(readings)
    return csv_tables.agreement_csv((view, table_of(view, known, references)) for view in choices.VIEWS).data
