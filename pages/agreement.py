"""How far readers agree with the model and each other, before the reveal and after it, and what it does to them."""

from collections.abc import Sequence

import streamlit as st

from core.results import Reading
from db import store
from db.access_values import Permission
from pages.ui import agreement_choice, agreement_panels, agreement_references, agreement_views, reads_export, resources
from pages.ui.agreement_choice import REVEAL
from pages.ui.agreement_values import Behind


def _figures(view: str, readings: Sequence[Reading]) -> int | None:
    """Draw a view with the cases behind its figures, and give the case that was picked."""
    references = agreement_references.references(readings) if view == REVEAL else {}
    table = agreement_views.table_of(view, readings, references)
    if table.lines:
        agreement_panels.figures(table)
    agreement_views.note(view, table, readings, references)
    left, right = agreement_views.halves(view)
    with left:
        matrices = agreement_views.matrices_of(view, readings)
        agreement_panels.matrices(matrices)
    with right:
        every = Behind(f"every reading ({len(readings):,})", tuple(readings))
        chosen = agreement_panels.behind([table], matrices, every)
        picked = agreement_panels.cases(chosen, references)
        if resources.may(Permission.READ_CASES):
            st.caption("A click on a row opens its case.")
        agreement_views.downloads(readings, references)
    return picked


reader, reads = resources.account().id, resources.may(Permission.READ_CASES)
with resources.sessions().read() as session:
    finished = store.finished_readings(session, reader)
if not finished:
    agreement_panels.nothing_yet(reads=reads)
else:
    wanted = agreement_choice.narrowed(finished)
    if not wanted:
        st.markdown("No finished case matches these filters.")
    else:
        agreement_panels.headline(wanted, reads=reads)
        case = _figures(agreement_choice.view(), wanted)
        if case is not None and reads:
            st.switch_page("read_case.py", query_params={"case": str(case)})
reads_export.reads_exports()
