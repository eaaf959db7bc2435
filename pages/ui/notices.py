"""The top of every page: its title, research use, the signed-in account, and problems of the worker."""

import streamlit as st

from pages.ui import resources, times
from pages.ui.formatting import escape
from pages.ui.resources import reader_name


def draw_notices(title: str) -> None:
    """Draw the title of the page and the notices, with the sign-out link, and a warning if no image can be analysed."""
    checkpoint = resources.checkpoint()
    single_reader = resources.single_reader_mode()
    notices = ["**Research use only** – not a diagnosis", _account_notice(single_reader=single_reader)]
    notices.append(f"times: {escape(times.name_time_zone())}")
    if checkpoint.card is not None and checkpoint.card.demonstration:
        notices.append("**demonstration model** – do not rely on its results")
    with st.container(key="notices", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.title(title, anchor=False, width="content")
            st.markdown(" &nbsp;·&nbsp; ".join(notices), width="content")
            if not single_reader:
                # Not Markdown, whose links open in another tab; relative, because a proxy may serve us under a prefix.
                st.html('<a class="sign-out" href="./sign-out" target="_self">Sign out</a>', width="content")
        problem = checkpoint.problem or resources.worker_problem()
        if problem:
            st.warning(f"New images cannot be analysed at the moment: {escape(problem)}")


def _account_notice(*, single_reader: bool) -> str:
    if single_reader:
        return f"single-reader mode: everyone at this computer reads as {escape(reader_name())}"
    account = resources.account()
    return f"signed in as {escape(account.name)}, {account.role}"
