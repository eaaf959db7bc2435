"""The four views of agreement: the figures of each, and the note that explains them."""

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.labels import Malignancy
from core.reading.agreement import count_without_opinion, reader_couples
from core.reading.reveal_effect import Seconds
from core.results import Reading
from core.wording import count_words
from db import store
from db.values.accounts import Permission
from db.values.agreement import ComparedReadings
from pages.ui import csv_tables, resources
from pages.ui.agreement import choices, figures
from pages.ui.agreement.choices import HABITS, READER_MODEL, READER_READER, REVEAL
from pages.ui.agreement.counted import Counted
from pages.ui.agreement.figures import Matrix, Table
from pages.ui.downloads import draw_lazy_download
from pages.ui.without_names import readings_without_names

_RATE = "Agreement rate with its 95% Wilson interval and n; "
_NOTES = {
    READER_MODEL: _RATE + "then Cohen's kappa with an interval from resampling cases. The model's label is the one "
    "the reader saw; after the reveal, the latest version of the read counts.",
    READER_READER: _RATE + "then Cohen's kappa, and the quadratic-weighted kappa of ten grades from certainly benign "
    "to certainly malignant; intervals of kappa from resampling cases.",
    REVEAL: "Shares of all reads with a label before and after the reveal, with 95% Wilson intervals. The final read "
    "counts as first saved, because an amendment may be based on later knowledge.",
    HABITS: "Median seconds from opening to saving, by the server's clock, with a 95% interval from these "
    "reads; map useful: share of the votes; amended: share of the final reads.",
}
_TOGETHER = " For all readers together: reads of one case are not independent, so the interval is somewhat too narrow."
_ALONE = "Only one reader has read these cases. Agreement between readers needs a second reader of the same cases."
_NO_REFERENCE = " Without reference labels it is not known who was right: the figures show who moved towards the model."
_DASH = '"–" means not enough data.'
COMPARISONS = {
    READER_MODEL: ComparedReadings.MODEL,
    READER_READER: ComparedReadings.READERS,
    REVEAL: ComparedReadings.REVEAL,
    HABITS: ComparedReadings.HABITS,
}
_NO_REPEAT = " No reader has read a case a second time; an amendment does not count as one."


def measure_view(
    view: str,
    readings: Sequence[Reading],
    references: Mapping[int, Malignancy],
    seconds: Mapping[str, Seconds] | None = None,
) -> Table:
    """Compute the table of a view; `seconds` where the readings stand for others too."""
    if view == READER_MODEL:
        return figures.measure_reader_model(readings)
    if view == READER_READER:
        return figures.measure_reader_reader(readings)
    if view == REVEAL:
        return figures.measure_reveal(readings, references)
    return figures.measure_reading_habits(readings, seconds)


def draw_note(view: str, table: Table, readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> None:
    """Explain in words how the figures of a view are computed."""
    several = len({one.reader for one in readings}) > 1
    words = _NOTES[view] + (_TOGETHER if several and view != READER_READER else "")
    if view == READER_READER:
        words += "" if any(one.iteration > 1 for one in readings) else _NO_REPEAT
    if view == REVEAL and not references:
        words += _NO_REFERENCE
    if table.left_out:
        words += f" Left out: {table.left_out:,} without a label to compare."
    if view in (READER_MODEL, REVEAL) and (withheld := count_without_opinion(readings)):
        words += f" No model opinion: {count_words(withheld, 'case')}, left out of all figures."
    if view == READER_READER and not several:
        st.markdown(_ALONE)
    st.caption(f"{words} {_DASH}")


def split_page(view: str) -> tuple[DeltaGenerator, DeltaGenerator]:
    """Return a place for matrices and one for cases, side by side unless the view has no matrix."""
    if view in (READER_MODEL, READER_READER):
        left, right = st.columns([1, 2.2], gap="medium")
        return left, right
    return st.container(), st.container()


def ask_matrices(view: str, readings: Sequence[Reading]) -> list[Matrix]:
    """Ask whose matrices to show, and count them; two of the views have none."""
    if view == READER_MODEL:
        names = [name for name, _ in figures.by_reader(readings)]
        chosen = _ask_raters(names) if len(names) > 1 else names[0]
        return figures.model_matrices(readings, chosen)
    couples = {figures.couple_words(couple): couple for couple in reader_couples(readings)}
    if view != READER_READER or not couples:
        return []
    return figures.couple_matrices(readings, couples[_ask_raters(list(couples))])


def _ask_raters(names: Sequence[str]) -> str:
    key = f"agreement-whose-{st.session_state['agreement-view']}"
    choices.forget_unless_among(key, names)
    return st.selectbox("Matrices of", names, key=key, label_visibility="collapsed", persist_state="session")


def draw_downloads(counted: Counted) -> None:
    """Offer the figures of all views and their readings as tables, de-identified unless names are asked for."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        named = resources.may(Permission.PLAN_READING) and st.toggle(
            "Include names in the files", key="agreement-named"
        )
        how = "with names" if named else "de-identified"
        make_figures, make_readings = (partial(make, counted, named=named) for make in (_figures_file, _readings_file))
        draw_lazy_download("Figures", f"agreement figures, {how}", make_figures, "agreement.csv")
        draw_lazy_download("Readings", f"agreement readings, {how}", make_readings, "readings.csv")


def _figures_file(counted: Counted, *, named: bool) -> csv_tables.TableFile:
    readings, references = _load_readings(counted)
    exported = readings if named else readings_without_names(readings)
    return csv_tables.agreement_csv((view, measure_view(view, exported, references)) for view in choices.VIEWS)


def _readings_file(counted: Counted, *, named: bool) -> csv_tables.TableFile:
    readings, references = _load_readings(counted)
    return csv_tables.readings_csv(readings if named else readings_without_names(readings), references)


def _load_readings(counted: Counted) -> tuple[list[Reading], Mapping[int, Malignancy]]:
    """Return all readings that are wanted, and the reference labels of their cases."""
    account = resources.account().id
    with resources.sessions().read() as session:
        readings = store.agreement.finished_readings(session, account)
        references = counted.given or {}
        if counted.given is None and counted.references:
            references = store.adjudication.adjudicated_labels(session, account).labels
    return [one for one in readings if counted.wanted.wants(one)], references
