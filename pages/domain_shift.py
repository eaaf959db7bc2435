"""How far apart two sets of images are for a network, in what they differ, and what helps."""

import streamlit as st

from core.statistics.shift import Shift
from pages.ui import formatting, resources
from pages.ui.domain_shift import panels, watch
from pages.ui.without_names import shift_without_names


def _draw_comparison(shift: Shift, number: int) -> None:
    panels.draw_headline(shift)
    left, right = st.columns([1.3, 1], gap="medium")
    with left:
        panels.draw_statistics(shift, number)
    with right:
        panels.draw_what_helps(shift, number)
        panels.draw_points(shift, number)
    panels.draw_cautions(shift)


watch.draw_watch()
rows = resources.evaluations().shifts()
if not rows:
    panels.draw_empty_page()
else:
    chosen = panels.ask_comparison(rows)
    try:
        shift = Shift.from_json(chosen.document)
    except ValueError as error:
        st.error(
            f"This comparison cannot be read: {formatting.escape(str(error))}. Run python -m training.shift again."
        )
    else:
        _draw_comparison(shift if resources.sees_names() else shift_without_names(shift, chosen.document), chosen.id)
