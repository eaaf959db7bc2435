"""Reader studies for who plans them: make one, see how far its readers are, close it."""

import streamlit as st

from db import store
from pages.ui import components, downloads, resources, studies

by = resources.account().id
with resources.sessions().read() as session:
    rows = store.studies.studies(session, by)
    readers = store.studies.study_readers(session, by)
components.show_announcement()
st.subheader("Studies")
studies.show(rows)
studies.form(readers)
downloads.reads_exports()
