"""Around the adjudication of a case: the list of those that wait, which comes next, and the blind read."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from db import store
from db.adjudication_values import Adjudication, WaitingCase
from db.values import CaseView
from pages.ui import case_header, components, panels, resources
from pages.ui.reading_mode import ReadingMode, routine


def waiting() -> list[WaitingCase]:
    """Ask which cases wait for this adjudicator."""
    adjudicator = resources.account().id
    with resources.sessions().read() as session:
        return store.cases_to_adjudicate(session, adjudicator)


def open_it(case_id: int) -> None:
    """Show one case."""
    st.query_params["case"] = str(case_id)
    st.rerun()


def open_next(after: int) -> None:
    """Show the next case that waits for this adjudicator, or the list when none does."""
    cases = [case.id for case in waiting()]
    place = cases.index(after) + 1 if after in cases else 0
    following = [case_id for case_id in (*cases[place:], *cases[:place]) if case_id != after]
    if not following:
        st.query_params.clear()
        st.rerun()
    open_it(following[0])


def header(seen: Adjudication) -> None:
    """Draw the line above the tissue."""
    skip = partial(open_next, seen.case.id) if seen.waits else None
    case_header.line(seen.case, ("**ADJUDICATION**", f"{len(waiting())} to adjudicate"), skip)


def blind_read(case: CaseView) -> ReadingMode:
    """Read a case blind before anything that was said of it is shown."""
    return replace(
        routine(case),
        go_on=partial(open_next, case.id),
        first_button="Save and see the readers",
        first_caption="What the readers and the model say appears after your opinion is saved.",
    )


def pick_case(cases: Sequence[WaitingCase]) -> int | None:
    """Draw the cases that wait; a click anywhere in a row gives its case."""
    picked = components.draw_clickable_table(
        {
            "case": [case.accession for case in cases],
            "images": [case.images for case in cases],
            "magnification": [panels.magnification_words(case.magnification) for case in cases],
            "waits since": [case.since for case in cases],
            "kind": ["generated demo case" if case.demonstration else "uploaded" for case in cases],
            "your blind opinion": ["saved" if case.begun else "" for case in cases],
        },
        key="adjudication-table",
        column_config={"waits since": st.column_config.DatetimeColumn(format="distance")},
    )
    return None if picked is None else cases[picked].id
