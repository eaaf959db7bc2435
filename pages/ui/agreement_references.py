"""Which reference labels readers are held against: those that were adjudicated here, or those of a file."""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.labels import Malignancy
from core.reference_labels import UnreadableReferencesError, read_references
from core.results import Reading
from db import store
from db.adjudication_values import AdjudicatedLabels
from pages.ui import panels, resources

_ADJUDICATED, _FILE, _NONE = "adjudicated labels", "a CSV file", "none"


def references(readings: Sequence[Reading]) -> Mapping[int, Malignancy]:
    """Ask for reference labels of the finished cases, those adjudicated here unless another source is chosen."""
    account = resources.account().id
    with resources.sessions().read() as session:
        adjudicated = store.adjudicated_labels(session, account)
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
        st.error(f"These reference labels cannot be used: {panels.plain(str(error))}.")
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
    return f"Reference: {panels.plain(name)}, {found:,} of {cases:,} cases."
