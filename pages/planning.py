"""Who reads which case, and which cases are urgent; for administrators, who do not see the opinions here."""

import streamlit as st

from db import store
from db.values.worklist import PlanFilter, PlannedCase
from pages.ui import components, formatting, intakes, planning, resources
from pages.ui.paging import Pages

_PAGES = Pages("planning", store.planning.PAGE, PlannedCase)

by = resources.account().id
with resources.sessions().read() as session:
    readers = store.planning.assignable_readers(session, by)
components.show_announcement()
for intake in intakes.list_interrupted():
    intakes.draw_interrupted(intake, whose=f"{formatting.escape(intake.uploader)} can add the missing images.")
chosen = planning.ask_filter(readers)
start = _PAGES.end_of_previous(chosen)
with resources.sessions().read() as session:
    page = store.planning.cases_to_plan(session, by, chosen, after=start)
if not page.rows and start is not None:
    _PAGES.show_first()
if not page.rows:
    st.markdown("There are no cases yet." if chosen == PlanFilter() else "No case matches these filters.")
else:
    buttons = st.container()  # above the table whose selection they act on
    picked = planning.ask_cases(page.rows)
    _PAGES.draw_buttons(len(page.rows), page.last, None, "case")
    with buttons:
        planning.draw_actions(picked, readers)
