"""What differs between routine reading and a study: what saves an opinion, and what comes after the last word."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import streamlit as st

from db import store
from db.values.reading import CaseView, Read
from pages.ui import formatting, resources
from pages.ui.reading.read_form import ReadForm

_PASSED = "passed-over"  # the cases that were left unread in this sitting, the last one last
_PASSED_KEPT = 200


@dataclass(frozen=True, slots=True)
class ReadingMode:
    """How the forms of an opinion save and go on.

    `first` and `final` take a session and, by name, account_id, opinion, opened_at and edit_seconds; `final` also
    takes seen.
    """

    key: str  # of the fields on the screen: a case that is read again begins with empty ones
    called: str  # what was saved, in the words above the tissue
    first: Callable[..., Read]
    final: Callable[..., Read]
    go_on: Callable[[], None]
    first_title: str = "Your first opinion"
    first_button: str = "Save and reveal"
    first_caption: str = "The model's opinion appears after yours is saved."

    @property
    def first_form(self) -> ReadForm:
        """The form of the first opinion."""
        return ReadForm.first(self.key)

    @property
    def final_form(self) -> ReadForm:
        """The form of the final opinion, or of the only one beside the model's."""
        return ReadForm.final(self.key)


def routine(case: CaseView) -> ReadingMode:
    """Read a case of the worklist; the next one that waits comes after it."""
    return ReadingMode(
        key=str(case.id),
        called=formatting.plain(case.accession),
        first=partial(store.reads.record_first_read, case_id=case.id),
        final=partial(store.reads.record_final_read, case_id=case.id),
        go_on=partial(open_next, case.id),
    )


def open_next(case_id: int | None) -> None:
    """Show the next case that waits for this reader, or the worklist when none does; what is left is free again."""
    reader = resources.account().id
    passed = [one for one in st.session_state.get(_PASSED, []) if one != case_id]
    st.session_state[_PASSED] = [*passed, case_id][-_PASSED_KEPT:] if case_id is not None else passed
    with resources.sessions().begin() as session:
        store.claims.release_claim(session, reader)
        following = store.worklist.next_case(session, reader, after=case_id, passed=st.session_state[_PASSED])
    if following is None:
        st.switch_page("worklist.py")
    st.query_params["case"] = str(following)
    st.rerun()


def forget_passed_over() -> None:
    """Forget which cases were passed over: they have their place in the order of work again."""
    st.session_state.pop(_PASSED, None)
