"""The line that says what was saved last, and takes a final opinion back while that is still allowed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.values import Read, Stage
from pages.ui import drafts, edit_time, panels, resources

_SHORTEST_WAIT = timedelta(seconds=10)  # it is drawn again and again
_FORM_FLAGS = ("saved", "confirm", "conflict")


@dataclass(frozen=True, slots=True)
class _Offer:
    """A final read that can be taken back until then, and the form it was typed in."""

    read_id: int
    case_id: int
    called: str
    form: str
    until: datetime

    @property
    def left(self) -> timedelta:
        return self.until - datetime.now(UTC)


def remember(called: str, form: str, read: Read) -> None:
    """Note that a form was saved, for the line on the next screen; `called` is the case in words."""
    note(called, form, read.saved_at)
    if read.stage is Stage.FINAL and read.place_id is None and form.startswith("final-"):
        until = read.saved_at + store.GRACE
        st.session_state["undo"] = _Offer(read.id, read.case_id, called, form, until)


def note(called: str, form: str, saved_at: datetime) -> None:
    """Note that a form was saved which is not taken back, for the line on the next screen."""
    st.session_state[f"{form}-saved"] = True
    st.session_state.pop(f"{form}-confirm", None)
    st.session_state["saved"] = f"{called} saved {panels.clock(saved_at)}"
    st.session_state["saved-form"] = form
    st.session_state.pop("undo", None)


def line() -> None:
    """Say what was saved last, with Undo as long as it is offered."""
    if "saved-form" in st.session_state:
        drafts.forget(st.session_state["saved-form"])
    offer: _Offer | None = st.session_state.get("undo")
    if offer is None or offer.left <= timedelta():
        st.session_state.pop("undo", None)
        _words()
        return
    # Drawn once more when the time is over, so that nobody presses what is refused.
    st.fragment(_words_and_undo, run_every=max(offer.left, _SHORTEST_WAIT))()


def _words() -> None:
    if "saved" in st.session_state:
        st.markdown(st.session_state["saved"], width="content")


def _words_and_undo() -> None:
    offer: _Offer | None = st.session_state.get("undo")
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
        _words()
        if offer is None or offer.left <= timedelta():
            return
        words = f"Undo ({store.GRACE.seconds} s)"
        if st.button(words, key="undo-save", shortcut="W", type="tertiary"):
            _take_back(offer)


def _take_back(offer: _Offer) -> None:
    st.session_state.pop("undo", None)
    try:
        with resources.sessions().begin() as session:
            store.withdraw_read(session, offer.read_id, resources.account().id)
    except CaseChangedError as error:
        st.session_state["saved"] = panels.plain(f"Not taken back: {error}")
        st.rerun()
    st.session_state["saved"] = f"{offer.called} taken back"
    st.session_state.pop("saved-form", None)
    for flag in _FORM_FLAGS:
        st.session_state.pop(f"{offer.form}-{flag}", None)
    st.session_state.pop(f"opened-{offer.form}", None)
    edit_time.begin_again(offer.form)
    st.switch_page("read_case.py", query_params={"case": str(offer.case_id)})
