"""How long a form was in use, measured on the server from one interaction to the next.

A gap of more than two minutes counts as two minutes: the reader may have looked at the tissue or been away. Time on
another page or in another form does not count, nor does the time after the last interaction.
"""

import time

import streamlit as st

from pages.ui.reading.form_state import ReadForm

_LONGEST_GAP_SECONDS = 120.0
_CLOCK = "edit-clock"  # the form of the last interaction and its time
_PAGE = "page"  # the page on the screen


def add_edit_time(form: ReadForm) -> float:
    """Add the time since the last interaction with this form; return the total in seconds."""
    now = time.monotonic()
    last: tuple[str, float] | None = st.session_state.get(_CLOCK)
    passed = now - last[1] if last is not None and last[0] == form.key else 0.0
    st.session_state[_CLOCK] = (form.key, now)
    return form.add_edit_seconds(min(passed, _LONGEST_GAP_SECONDS))


def enter_page(name: str) -> None:
    """Stop the clock when the reader moves to another page."""
    if st.session_state.get(_PAGE) != name:
        st.session_state[_PAGE] = name
        stop_clock()


def stop_clock() -> None:
    """Do not count the time until the next interaction, for example when a saved form is reopened."""
    st.session_state.pop(_CLOCK, None)
