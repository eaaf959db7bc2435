"""Who did what to what, and when; and whether anybody changed that record. For administrators."""

import streamlit as st

from db import store
from pages.ui import audit, resources

by = resources.account().id
with resources.sessions().read() as session:
    choices = store.audit.event_choices(session, by)
st.subheader("Audit trail")
audit.verification()
wanted = audit.filters(choices)
number = audit.page_number(wanted)
with resources.sessions().read() as session:
    shown = store.audit.event_page(session, by, wanted, number=number, size=audit.PAGE_SIZE)
audit.events(shown, number, wanted)
