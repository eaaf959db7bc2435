"""The notices line at the top of every page: research use, who is signed in, and problems of the worker."""

import streamlit as st

from pages.ui import resources
from pages.ui.formatting import plain
from pages.ui.resources import reader_name


def standing_notices() -> None:
    """Say in one quiet line what must be known on every page."""
    checkpoint = resources.checkpoint()
    alone = resources.single_reader_mode()
    notices = ["**Research use only** – not a diagnosis", _who(alone)]
    if checkpoint.card is not None and checkpoint.card.demonstration:
        notices.append("**demonstration model** – trained to show the program, not to be relied on")
    with st.container(key="notices", gap="xsmall"):
        with st.container(horizontal=True, gap="small"):
            st.markdown(" &nbsp;·&nbsp; ".join(notices), width="content")
            if not alone:
                # Not as Markdown, which would open another tab.
                st.html('<a class="sign-out" href="/sign-out" target="_self">Sign out</a>', width="content")
        problem = checkpoint.problem or resources.worker_problem()
        if problem:
            st.warning(f"New images wait and are not analysed: {problem}")


def _who(alone: bool) -> str:
    if alone:
        return f"single-reader mode: everyone here reads as {reader_name()}"
    account = resources.account()
    return f"signed in as {plain(account.name)}, {account.role}"
