"""Who reads which case, and which cases are urgent; for administrators, who do not see the opinions here."""

import streamlit as st

from db import store
from pages.ui import components, formatting, intakes, planning, resources

by = resources.account().id
with resources.sessions().read() as session:
    readers = store.planning.assignable_readers(session, by)
components.show_announcement()
for intake in intakes.list_interrupted():
    intakes.draw_interrupted(intake, whose=f"{formatting.escape(intake.uploader)} can add the missing images.")
chosen = planning.ask_filter(readers)
with resources.sessions().read() as session:
    cases = chosen.among(store.planning.cases_to_plan(session, by, chosen.cases))
if not cases:
    st.markdown("No case matches these filters." if chosen.narrowed else "There are no cases yet.")
else:
    buttons = st.container()  # above the table whose selection they act on
    picked = planning.ask_cases(cases)
    with buttons:
        planning.draw_actions(picked, readers)
