"""Which page of the worklist is on the screen, and the buttons that turn it."""

from dataclasses import dataclass, replace

import streamlit as st

from db.store.worklist import PAGE
from db.values.worklist import ListedCase, WorklistPage
from pages.ui import formatting
from pages.ui.worklist import WorklistQuery

_PAGES = "worklist-pages"  # key of the session state


@dataclass(frozen=True, slots=True)
class _Pages:
    """The last case of each page before the one on the screen, and the filters and order of which they are pages."""

    query: WorklistQuery
    ends: tuple[ListedCase, ...] = ()


def end_of_previous_page(query: WorklistQuery) -> ListedCase | None:
    """Return after which case the page begins; with other filters or another order, the first page is shown."""
    # The times move with the clock; what they were chosen as is compared.
    chosen = replace(query, cases=replace(query.cases, since=None, until=None))
    pages = st.session_state.get(_PAGES)
    if not isinstance(pages, _Pages) or pages.query != chosen:
        st.session_state[_PAGES] = pages = _Pages(chosen)
    return pages.ends[-1] if pages.ends else None


def show_first_page() -> None:
    """Go back to the first page, after cases have left the one on the screen."""
    st.session_state.pop(_PAGES, None)
    st.rerun()


def draw_page_buttons(page: WorklistPage) -> None:
    """Draw which cases are on the screen, and the buttons to the pages before and after, if there are any."""
    pages: _Pages = st.session_state[_PAGES]
    if not pages.ends and page.last is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Previous page", key="worklist-previous", disabled=not pages.ends, shortcut="Ctrl+Left"):
            _turn_to(replace(pages, ends=pages.ends[:-1]))
        if st.button("Next page", key="worklist-next", disabled=page.last is None, shortcut="Ctrl+Right") and page.last:
            _turn_to(replace(pages, ends=(*pages.ends, page.last)))
        first = len(pages.ends) * PAGE + 1
        of = f" of {formatting.count_words(page.total, 'case')}" if page.total is not None else ""
        st.caption(f"{first:,} to {first + len(page.rows) - 1:,}{of}")


def explain_cut(page: WorklistPage) -> str:
    """Return what to do if more cases match the text than can be listed; empty otherwise."""
    return "Very many case numbers begin like this: only the first are listed. Type more of it." if page.cut else ""


def _turn_to(pages: _Pages) -> None:
    st.session_state[_PAGES] = pages
    st.rerun()
