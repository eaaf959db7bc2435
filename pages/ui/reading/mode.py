"""What differs between routine reading, adjudication and studies: how opinions are saved and what comes next."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import streamlit as st

from db import store
from db.values.reading import CaseView, Read
from pages.ui import formatting, resources
from pages.ui.reading.form_state import ReadForm

_SKIPPED = "passed-over"  # the cases skipped in this session, the most recent last
_MOST_SKIPPED = 200


@dataclass(frozen=True, slots=True)
class ReadingMode:
    """How the forms of an opinion are saved, and what comes next.

    `first` and `final` take a session and, by name, account_id, opinion, opened_at and edit_seconds; `final` also
    takes seen.
    """

    key: str  # of the fields on the screen: a case that is read again begins with empty fields
    called: str  # what the line above the tissue calls the case once it is saved
    first: Callable[..., Read]
    final: Callable[..., Read]
    go_on: Callable[[], None]
    first_title: str = "Your first opinion"
    first_button: str = "Save and reveal"
    first_caption: str = "The model's opinion appears after you save yours."

    @property
    def first_form(self) -> ReadForm:
        """The form of the first opinion."""
        return ReadForm.first(self.key)

    @property
    def final_form(self) -> ReadForm:
        """The form of the final opinion, or of the only opinion if the model is visible from the beginning."""
        return ReadForm.final(self.key)


def make_routine_mode(case: CaseView) -> ReadingMode:
    """Return the mode of routine reading: the next waiting case follows this one."""
    return ReadingMode(
        key=str(case.id),
        called=formatting.escape(case.accession),
        first=partial(store.reads.record_first_read, case_id=case.id),
        final=partial(store.reads.record_final_read, case_id=case.id),
        go_on=partial(open_next, case.id),
    )


def open_next(case_id: int | None) -> None:
    """Release this reader's claim, and show the next case that waits for them, or the worklist if none does."""
    reader = resources.account().id
    skipped = [skipped_id for skipped_id in st.session_state.get(_SKIPPED, []) if skipped_id != case_id]
    if case_id is not None:
        skipped = [*skipped, case_id][-_MOST_SKIPPED:]
    st.session_state[_SKIPPED] = skipped
    with resources.sessions().begin() as session:
        store.claims.release_claim(session, reader)
        following = store.worklist.find_next_case(session, reader, after=case_id, passed=skipped)
    if following is None:
        st.switch_page("worklist.py")
    st.query_params["case"] = str(following)
    st.rerun()


def forget_skipped_cases() -> None:
    """Forget which cases were skipped: they return to their place in the order of work."""
    st.session_state.pop(_SKIPPED, None)
