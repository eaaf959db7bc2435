"""Files that are given out: recorded with who and what at the moment at which they are asked for."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from db import store
from db.values import Action
from pages.ui import resources
from pages.ui.export import Export


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
        store.record_event(session, account_id, Action.EXPORTED, what)
    return data


def _data_of(file: Export) -> bytes:
    return file.data
