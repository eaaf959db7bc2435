"""Who reads which case, and what is urgent; for administrators, who see nothing of the opinions."""

import streamlit as st

from db import store
from pages.ui import components, planning, resources

by = resources.account().id
with resources.sessions().read() as session:
    readers = store.planning.assignable_readers(session, by)
st.subheader("Planning")
components.show_announcement()
wanted = planning.filters(readers)
with resources.sessions().read() as session:
    cases = wanted.among(store.planning.cases_to_plan(session, by, wanted.cases))
if not cases:
    st.markdown("No case matches these filters." if wanted.narrowed else "There is no case yet.")
else:
    bar = st.container()
    picked = planning.pick_cases(cases)
    with bar:
        planning.actions(picked, readers)
