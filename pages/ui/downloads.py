"""Download buttons: each file is made, and recorded in the audit trail, only when it is asked for."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from db import store
from db.store.exports import NOTHING, Told
from db.values.accounts import Permission
from pages.ui import resources
from pages.ui.csv_tables import Export
from service.exports.study_archive import Wanted, reads_archive

_ROUTINE = 0  # in place of the number of a study


def offer(label: str, what: str, file: Export, *, key: str | None = None) -> None:
    """Offer a file; `what` is what the audit trail says was exported."""
    offer_made(label, what, partial(_data_of, file), file.name, key=key)


def offer_made(label: str, what: str, make: Callable[[], bytes], name: str, *, key: str | None = None) -> None:
    """Offer a CSV file that is made when it is asked for, as one is that takes long to make."""
    # Streamlit asks for the bytes at the click and in no page run: neither can be had without the event.
    st.download_button(
        label,
        partial(recorded, resources.account().id, what, make),
        name,
        "text/csv",
        key=key,
        type="tertiary",
        on_click="ignore",
    )


def recorded(account_id: int, what: str, make: Callable[[], bytes]) -> bytes:
    """Make a file and say on the audit trail who has it; without the event there is no file."""
    # First made: a session that writes would keep all readers from saving while thousands of rows are read.
    data = make()
    with resources.sessions().begin() as session:
        store.exports.record_download(session, account_id, what)
    return data


def _data_of(file: Export) -> bytes:
    return file.data


def reads_exports() -> None:
    """Offer the reads of routine reading and of every study of which this account may have them."""
    account = resources.account().id
    with resources.sessions().read() as session:
        studies = store.exports.exportable_studies(session, account)
    names = {_ROUTINE: "routine reading"} | {study.id: f"study {study.name}" for study in studies}
    with st.popover("Reads for MRMC software", type="tertiary"):
        chosen = st.selectbox("Reads of", list(names), format_func=names.__getitem__, key="export-reads-of")
        _download(chosen or None)


def study_exports(study_id: int) -> None:
    """Offer the reads of one study."""
    with st.popover("Export reads", type="tertiary", key=f"export-study-{study_id}"):
        _download(study_id)


def _download(study_id: int | None) -> None:
    key = f"export-reads-{study_id or _ROUTINE}"
    told = _told(key) if resources.may(Permission.PLAN_READING) else NOTHING
    wanted = Wanted(resources.account().id, study_id, told)
    st.download_button(
        "Reads, scores and regions (ZIP)",
        partial(_archive, wanted),
        f"{'study' if study_id else 'routine'}-reads.zip",
        "application/zip",
        key=f"{key}-zip",
        on_click="ignore",
    )
    own = not resources.may(Permission.PLAN_READING) and resources.may(Permission.READ_CASES)
    st.caption(
        f"{'Your own reads' if own else 'The reads of everybody'} as a long table, as input for iMRMC, and as GeoJSON. "
        + ("Treat them as patient data." if told != NOTHING else "De-identified: shuffled numbers, no dates.")
    )


def _told(key: str) -> Told:
    named = st.toggle("With names, accessions and notes", key=f"{key}-named")
    return Told(named, st.toggle("Times of the clock", key=f"{key}-clock", help="Else seconds since a reader's first"))


def _archive(wanted: Wanted) -> bytes:
    return reads_archive(resources.sessions(), wanted)
