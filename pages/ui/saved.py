"""The line that says what was saved last, and takes a final opinion back while that is still allowed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.values import Read, Stage
from pages.ui import drafts, edit_time, panels, resources
from pages.ui.read_form import ReadForm

_SHORTEST_WAIT = timedelta(seconds=10)  # it is drawn again and again
_WORDS, _FORM, _UNDO = "saved", "saved-form", "undo"  # what is said, of which form, and what can be taken back


@dataclass(frozen=True, slots=True)
class _Offer:
    """A final read that can be taken back until then, and the form it was typed in."""

    read_id: int
    case_id: int
    called: str
    form: ReadForm
    until: datetime

    @property
    def left(self) -> timedelta:
        return self.until - datetime.now(UTC)


def remember_read(called: str, form: ReadForm, read: Read) -> None:
    """Note that a form was saved, for the line on the next screen; `called` is the case in words."""
    remember_saved(called, form, read.saved_at)
    if read.stage is Stage.FINAL and read.place_id is None and form.is_final:
        until = read.saved_at + store.GRACE
        st.session_state[_UNDO] = _Offer(read.id, read.case_id, called, form, until)


def remember_saved(called: str, form: ReadForm, saved_at: datetime) -> None:
    """Note that a form was saved which is not taken back, for the line on the next screen."""
    form.mark_saved()
    st.session_state[_WORDS] = f"{called} saved {panels.clock(saved_at)}"
    st.session_state[_FORM] = form
    st.session_state.pop(_UNDO, None)


def show_last_saved() -> None:
    """Show what was saved last, with Undo as long as it is offered."""
    if _FORM in st.session_state:
        drafts.forget(st.session_state[_FORM])
    offer: _Offer | None = st.session_state.get(_UNDO)
    if offer is None or offer.left <= timedelta():
        st.session_state.pop(_UNDO, None)
        _show_words()
        return
    # Drawn once more when the time is over, so that nobody presses what is refused.
    st.fragment(_show_words_and_undo, run_every=max(offer.left, _SHORTEST_WAIT))()


def _show_words() -> None:
    if _WORDS in st.session_state:
        st.markdown(st.session_state[_WORDS], width="content")


def _show_words_and_undo() -> None:
    offer: _Offer | None = st.session_state.get(_UNDO)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
        _show_words()
        if offer is None or offer.left <= timedelta():
            return
        words = f"Undo ({store.GRACE.seconds} s)"
        if st.button(words, key="undo-save", shortcut="W", type="tertiary"):
            _take_back(offer)


def _take_back(offer: _Offer) -> None:
    st.session_state.pop(_UNDO, None)
    try:
        with resources.sessions().begin() as session:
            store.withdraw_read(session, offer.read_id, resources.account().id)
    except CaseChangedError as error:
        st.session_state[_WORDS] = panels.plain(f"Not taken back: {error}")
        st.rerun()
    st.session_state[_WORDS] = f"{offer.called} taken back"
    st.session_state.pop(_FORM, None)
    offer.form.reopen()
    edit_time.stop_clock()
    st.switch_page("read_case.py", query_params={"case": str(offer.case_id)})
