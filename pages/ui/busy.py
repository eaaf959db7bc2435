"""What is shown when the database is locked, full, read-only or cannot be reached."""

from secrets import token_hex

import streamlit as st

from db.errors import DatabaseBusyError


def show_busy(error: Exception) -> bool:
    """Show that the database is busy in place of the part of the page that needed it; return False for other errors.

    Streamlit calls this with whatever a page raised, and keeps what was entered in its fields.
    """
    if not isinstance(error, DatabaseBusyError):
        return False
    words = str(error)
    st.warning(
        f"{words[:1].upper()}{words[1:]}. What you have entered is kept. Please try again in a moment; "
        "if this message stays, tell an administrator."
    )
    # Several parts of a page may fail at once, so each button needs a key of its own.
    st.button("Try again", key=f"busy-{token_hex(4)}", type="primary")
    return True
