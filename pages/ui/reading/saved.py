"""What was saved last, its undo, and the conflicts that prevent saving."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.values.reading import GRACE, Read, Stage
from pages.ui import formatting, resources, times
from pages.ui.reading import drafts, edit_time
from pages.ui.reading.form_state import ReadForm

_SHORTEST_WAIT = timedelta(seconds=10)  # between two redraws of the undo button
_BUTTON = "undo-save"  # the key of the undo button
_WORDS, _FORM, _UNDO = "saved", "saved-form", "undo"  # the text, the form it is about, and the read to undo


def show_conflict(form: ReadForm) -> bool:
    """Show why a form cannot be saved; return True when the reader asks for the saved version."""
    message = form.conflict
    if not message:
        return False
    st.error(f"Not saved: {formatting.escape(message.rstrip('.'))}. Your entries are still here.")
    if not st.button("Show saved version", key=form.widget_key("show")):
        return False
    form.drop_conflict()
    return True


def show_not_saved(form: ReadForm) -> bool:
    """Show why a form cannot be saved, and draw the page again if the reader asks for it; always return False."""
    if show_conflict(form):
        st.rerun()
    return False


@dataclass(frozen=True, slots=True)
class _Offer:
    """A final read that may still be withdrawn, which the store knows, and the form it was saved from."""

    read_id: int
    case_id: int
    called: str
    form: ReadForm


def remember_read(called: str, form: ReadForm, read: Read) -> None:
    """Record that a form was saved, for the line on the next screen; `called` is the case in words."""
    remember_saved(called, form, read.saved_at)
    if read.stage is Stage.FINAL and read.place_id is None and form.is_final:
        st.session_state[_UNDO] = _Offer(read.id, read.case_id, called, form)


def remember_saved(called: str, form: ReadForm, saved_at: datetime) -> None:
    """Record that a form without undo was saved, for the line on the next screen."""
    form.mark_saved()
    st.session_state[_WORDS] = f"{called} saved {times.format_time(saved_at)}"
    st.session_state[_FORM] = form
    st.session_state.pop(_UNDO, None)


def show_last_saved() -> None:
    """Show what was saved last, with Undo while it is possible."""
    if _FORM in st.session_state:
        drafts.forget(st.session_state[_FORM])
    offer: _Offer | None = st.session_state.get(_UNDO)
    left = _time_left(offer)
    if not left and not st.session_state.get(_BUTTON):
        st.session_state.pop(_UNDO, None)
        _show_words()
        return
    # Drawn again when the time is over, so that no button is left whose click would be refused.
    st.fragment(_show_words_and_undo, run_every=max(left, _SHORTEST_WAIT))()


def end_undo_of_all(reader: int) -> None:
    """End Undo for every case, before a page shows what others said of them."""
    with resources.sessions().read() as session:
        waiting = store.reads.finals_to_close(session, reader)
    # Only then: while a session writes, all others wait.
    if waiting:
        with resources.sessions().begin() as session:
            store.reads.end_undo(session, reader)


def _time_left(offer: _Offer | None) -> timedelta:
    """Return how long the read of an offer can still be withdrawn: the store also knows what else ends Undo."""
    if offer is None:
        return timedelta()
    reader = resources.account().id
    with resources.sessions().read() as session:
        return store.reads.undo_left(session, offer.read_id, reader)


def _show_words() -> None:
    if _WORDS in st.session_state:
        st.markdown(st.session_state[_WORDS], width="content")


def _show_words_and_undo() -> None:
    offer: _Offer | None = st.session_state.get(_UNDO)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
        _show_words()
        # A click that comes too late is answered with the reason.
        if offer is None or not (st.session_state.get(_BUTTON) or _time_left(offer)):
            return
        words = f"Undo ({GRACE.seconds} s)"
        if st.button(words, key=_BUTTON, shortcut="W", type="tertiary"):
            _withdraw(offer)


def _withdraw(offer: _Offer) -> None:
    st.session_state.pop(_UNDO, None)
    try:
        with resources.sessions().begin() as session:
            store.reads.withdraw_read(session, offer.read_id, resources.account().id)
    except CaseChangedError as error:
        st.session_state[_WORDS] = formatting.escape(f"Not withdrawn: {times.localise_message(str(error))}")
        st.rerun()
    st.session_state[_WORDS] = f"{offer.called} final opinion withdrawn"
    st.session_state.pop(_FORM, None)
    offer.form.reopen()
    edit_time.stop_clock()
    st.switch_page("read_case.py", query_params={"case": str(offer.case_id)})
