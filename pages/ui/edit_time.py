"""How long a form was in use: measured here, on the server, from one interaction to the next.

A gap of more than two minutes counts as two: somebody looked at the tissue, and may have left the room. What passes
on another page, or in another form, does not count; neither does the time after the last interaction.
"""

import time

import streamlit as st

_LONGEST_GAP_SECONDS = 120.0


def counted(form: str) -> float:
    """Count the time since the last interaction with this form, and give the sum so far in seconds."""
    now = time.monotonic()
    last: tuple[str, float] | None = st.session_state.get("edit-clock")
    spent: float = st.session_state.get(f"{form}-seconds", 0.0)
    if last is not None and last[0] == form:
        spent += min(now - last[1], _LONGEST_GAP_SECONDS)
    st.session_state["edit-clock"] = (form, now)
    st.session_state[f"{form}-seconds"] = spent
    return spent


def page_is(name: str) -> None:
    """Stop the clock where another page came on the screen."""
    if st.session_state.get("page") != name:
        st.session_state["page"] = name
        st.session_state.pop("edit-clock", None)


def begin_again(form: str) -> None:
    """Forget the time of a form that was saved and is opened once more."""
    st.session_state.pop(f"{form}-seconds", None)
    st.session_state.pop("edit-clock", None)
