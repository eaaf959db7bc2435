"""What keeps a form from being saved, told beside its button for as long as it holds; nothing typed is lost."""

import streamlit as st

from pages.ui import panels
from pages.ui.read_form import ReadForm


def show_conflict(form: ReadForm) -> bool:
    """Show what stands in the way of saving; True when the reader asks to see what is saved."""
    message = form.conflict
    if not message:
        return False
    st.error(f"Not saved: {panels.plain(message)}. What you typed is still here.")
    if not st.button("Show what is saved", key=form.widget_key("show")):
        return False
    form.drop_conflict()
    return True


def show_not_saved(form: ReadForm) -> bool:
    """Show what stands in the way of saving, and draw the page again when asked to; never True."""
    if show_conflict(form):
        st.rerun()
    return False
