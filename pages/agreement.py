"""How far readers agree with the model and each other, before and after the reveal, and what the reveal changes."""

import streamlit as st

from db import store
from db.values.accounts import Permission
from db.values.agreement import ReadingFilter
from pages.ui import downloads, resources
from pages.ui.agreement import choices, drawing, views
from pages.ui.agreement.choices import HABITS, REVEAL
from pages.ui.agreement.counted import Counted, count_alike, measure_seconds
from pages.ui.reading.saved import end_undo_of_all


def _draw_figures(view: str, counted: Counted) -> int | None:
    """Draw a view with the cases behind its figures, and return the case that was picked."""
    counted = choices.ask_references(counted) if view == REVEAL else counted
    readings, references = counted.readings, counted.references
    seconds = measure_seconds(counted.wanted) if view == HABITS else None
    table = views.measure_view(view, readings, references, seconds)
    if table.lines:
        drawing.draw_figures(table)
    views.draw_note(view, table, readings, references)
    left, right = views.split_page(view)
    with left:
        matrices = views.ask_matrices(view, readings)
        drawing.draw_matrices(matrices)
    with right:
        chosen = drawing.ask_figure([table], matrices, readings)
        picked = drawing.draw_cases(chosen, counted)
        if resources.may(Permission.READ_CASES):
            st.caption("Click a row to open its case.")
        views.draw_downloads(counted)
    return picked


reader, reads = resources.account().id, resources.may(Permission.READ_CASES)
if reads:
    end_undo_of_all(reader)
with resources.sessions().read() as session:
    any_readings = store.agreement.has_readings(session, reader)
if not any_readings:
    drawing.draw_empty_page(reads=reads)
else:
    # Which view is chosen decides what is counted, so its place comes before those above it are filled.
    above = st.container()
    view = choices.ask_view()
    everything = count_alike(views.COMPARISONS[view], ReadingFilter())
    with above:
        counted = everything.narrow(choices.ask_filter(everything.readings))
        if counted.alike:
            drawing.draw_headline(counted.readings, reads=reads)
        else:
            st.markdown("No finished case matches these filters.")
    if counted.alike:
        case = _draw_figures(view, counted)
        if case is not None and reads:
            st.switch_page("read_case.py", query_params={"case": str(case)})
downloads.draw_reads_export()
