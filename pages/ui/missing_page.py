"""What stands on a page that the signed-in account may not open."""

from collections.abc import Callable

import streamlit as st

from pages.ui import resources


def missing_page(title: str) -> Callable[[], None]:
    """Return a page that says why the page with this title is missing, instead of Streamlit's "Page not found"."""

    def draw() -> None:
        st.subheader(title)
        st.info(_reason(title))

    return draw


def _reason(title: str) -> str:
    if resources.single_reader_mode():
        return f"The {title} page needs accounts, and there are none: everyone at this computer is the same reader."
    role = resources.account().role
    if title == "Study":
        return f"The {title} page is for the readers of a study. You are signed in as {role} and read in no open study."
    return (
        f"The {title} page is not for your role: you are signed in as {role}. "
        "If you need the page, ask an administrator to change your role."
    )
