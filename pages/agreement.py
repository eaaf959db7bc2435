"""How far readers agree with the model and each other, before and after the reveal, and what the reveal changes."""

from collections.abc import Sequence

import streamlit as st

from core.results import Reading
from db import store
from db.values.accounts import Permission
from pages.ui import downloads, resources
from pages.ui.agreement import choices, drawing, views
from pages.ui.agreement.choices import REVEAL
from pages.ui.reading.saved import end_undo_of_all


def _draw_figures(view: str, readings: Sequence[Reading]) -> int | None:
    """Draw a view with the cases behind its figures, and return the case that was picked."""
    references = choices.ask_references(readings) if view == REVEAL else {}
    table = views.measure_view(view, readings, references)
    if table.lines:
        drawing.draw_figures(table)
    views.draw_note(view, table, readings, references)
    left, right = views.split_page(view)
    with left:
        matrices = views.ask_matrices(view, readings)
        drawing.draw_matrices(matrices)
    with right:
        chosen = drawing.ask_figure([table], matrices, readings)
        picked = drawing.draw_cases(chosen, references)
        if resources.may(Permission.READ_CASES):
            st.caption("Click a row to open its case.")
        views.draw_downloads(readings, references)
    return picked


reader, reads = resources.account().id, resources.may(Permission.READ_CASES)
if reads:
    end_undo_of_all(reader)
with resources.sessions().read() as session:
    readings = store.agreement.finished_readings(session, reader)
if not readings:
    drawing.draw_empty_page(reads=reads)
else:
    selected = choices.ask_readings(readings)
    if not selected:
        st.markdown("No finished case matches these filters.")
    else:
        drawing.draw_headline(selected, reads=reads)
        case = _draw_figures(choices.ask_view(), selected)
        if case is not None and reads:
            st.switch_page("read_case.py", query_params={"case": str(case)})
downloads.draw_reads_export()
