"""How far one set of images lies from another as a network sees them, in what they differ, and what helps."""

import streamlit as st

from core.shift import Shift
from db import store
from pages.ui import panels, resources, shift_panels
from pages.ui.nameless import shift_without_names


def _comparison(shift: Shift, number: int) -> None:
    shift_panels.headline(shift)
    left, right = st.columns([1.3, 1], gap="medium")
    with left:
        shift_panels.statistics(shift, number)
    with right:
        shift_panels.what_helps(shift, number)
        shift_panels.points(shift, number)
    shift_panels.cautions(shift)


with resources.sessions().read() as session:
    rows = store.shifts(session)
if not rows:
    shift_panels.nothing_yet()
else:
    chosen = shift_panels.choose(rows)
    try:
        found = Shift.from_json(chosen.document)
    except ValueError as error:
        st.error(f"This comparison cannot be read: {panels.plain(str(error))}. Make it again with training.shift.")
    else:
        _comparison(found if resources.sees_names() else shift_without_names(found, chosen.document), chosen.id)
