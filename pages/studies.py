"""Reader studies for who plans them: make one, see how far its readers are, close it."""

import streamlit as st

from db import store
from pages.ui import components, reads_export, resources, study_list, study_plan

by = resources.account().id
with resources.sessions().read() as session:
    studies = store.studies(session, by)
    readers = store.study_readers(session, by)
components.show_announcement()
st.subheader("Studies")
study_list.show(studies)
study_plan.form(readers)
reads_export.reads_exports()
