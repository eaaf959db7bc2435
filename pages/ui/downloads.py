"""Download buttons: each file is created, and recorded in the audit trail, only at the click."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from db import store
from db.store.exports import DEIDENTIFIED, ExportDetail
from db.values.accounts import Permission
from pages.ui import resources
from pages.ui.csv_tables import TableFile

_CSV = "text/csv"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_ROUTINE = 0  # stands for routine reading in place of a study's number


def draw_download(label: str, what: str, file: TableFile, *, key: str | None = None) -> None:
    """Draw the download buttons of a table; `what` is the description in the audit trail."""
    draw_lazy_download(label, what, lambda: file, file.name, key=key)


def draw_lazy_download(
    label: str,
    what: str,
    make: Callable[[], TableFile],
    name: str,
    *,
    key: str | None = None,
) -> None:
    """Draw the download buttons of a table, as CSV and XLSX, that `make` creates at the click: creating it takes long.

    Args:
        label: What is in the table: "Figures".
        what: The description in the audit trail.
        make: Creates the table.
        name: The name of the CSV file.
        key: Names the buttons among the elements of the page.
    """
    with st.container(horizontal=True, gap="small", width="content"):
        _draw_button(f"{label} as CSV", what, lambda: make().data, name, _CSV, key)
        workbook = name.removesuffix(".csv") + ".xlsx"
        _draw_button(f"{label} as XLSX", what, lambda: make().make_workbook(), workbook, _XLSX, key and f"{key}-xlsx")


def _draw_button(label: str, what: str, make: Callable[[], bytes], name: str, kind: str, key: str | None) -> None:
    # Streamlit calls this at the click, outside any page run, so there is no file without its event.
    data = partial(make_and_record, resources.account().id, what, make)
    st.download_button(label, data, name, kind, key=key, type="tertiary", on_click="ignore")


def make_and_record(account_id: int, what: str, make: Callable[[], bytes]) -> bytes:
    """Create a file and record its download in the audit trail; if the event cannot be saved, there is no file."""
    # Created before the session opens: while a session writes, no reader can save.
    data = make()
    with resources.sessions().begin() as session:
        store.exports.record_download(session, account_id, what)
    return data


def draw_reads_export() -> None:
    """Draw the export of routine reads and of every study whose reads this account may export."""
    account = resources.account().id
    with resources.sessions().read() as session:
        studies = store.exports.exportable_studies(session, account)
    names = {_ROUTINE: "routine reading"} | {study.id: f"study {study.name}" for study in studies}
    with st.popover("Reads for MRMC software", type="tertiary"):
        study_id = st.selectbox("Reads of", list(names), format_func=names.__getitem__, key="export-reads-of")
        _draw_export(study_id or None)


def draw_study_export(study_id: int) -> None:
    """Draw the export of the reads of one study."""
    with st.popover("Export reads", type="tertiary", key=f"export-study-{study_id}"):
        _draw_export(study_id)


def _draw_export(study_id: int | None) -> None:
    # Only pages that offer this export need its formats.
    from service.exports.study_archive import ExportRequest, make_reads_archive  # noqa: PLC0415

    key = f"export-reads-{study_id or _ROUTINE}"
    disclosure = _ask_disclosure(key) if resources.may(Permission.PLAN_READING) else DEIDENTIFIED
    request = ExportRequest(resources.account().id, study_id, disclosure)
    st.download_button(
        "Reads, scores and regions (ZIP)",
        partial(make_reads_archive, resources.sessions(), request),
        f"{'study' if study_id else 'routine'}-reads.zip",
        "application/zip",
        key=f"{key}-zip",
        on_click="ignore",
    )
    own_only = not resources.may(Permission.PLAN_READING) and resources.may(Permission.READ_CASES)
    st.caption(
        f"{'Your own reads' if own_only else 'The reads of all readers'} as a long table, as iMRMC input, and marked "
        "regions as GeoJSON. "
        + ("Treat them as patient data." if disclosure != DEIDENTIFIED else "De-identified: random numbers, no dates.")
    )


def _ask_disclosure(key: str) -> ExportDetail:
    named = st.toggle("Include names, accession numbers and notes", key=f"{key}-named")
    clock_times = st.toggle(
        "Clock times",
        key=f"{key}-clock",
        help="Without clock times, an export with names gives seconds since the reader's first read was opened. A "
        "de-identified one gives only rounded durations, shuffled among similar reads of the same reader.",
    )
    return ExportDetail(named, clock_times)
