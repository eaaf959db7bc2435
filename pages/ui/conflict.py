"""What keeps a form from being saved, told beside its button for as long as it holds; nothing typed is lost."""

import streamlit as st

from pages.ui import panels


def remember(key: str, error: Exception) -> None:
    """Keep why a form could not be saved."""
    st.session_state[f"{key}-conflict"] = str(error)


def told(key: str) -> bool:
    """Tell what stands in the way of saving; True when the reader asks to see what is saved."""
    message = st.session_state.get(f"{key}-conflict")
    if not message:
        return False
    st.error(f"Not saved: {panels.plain(message)}. What you typed is still here.")
    if not st.button("Show what is saved", key=f"{key}-show"):
        return False
    del st.session_state[f"{key}-conflict"]
    return True


def not_saved(key: str) -> bool:
    """Tell what stands in the way of saving, and draw the page anew when asked to; never True."""
    if told(key):
        st.rerun()
    return False
