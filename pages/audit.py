"""Who did what to what, and when; and whether anybody changed that record. For administrators."""

import streamlit as st

from db import store
from pages.ui import audit_panels, resources

by = resources.account().id
with resources.sessions().read() as session:
    choices = store.event_choices(session, by)
st.subheader("Audit trail")
audit_panels.verification()
wanted = audit_panels.filters(choices)
number = audit_panels.page_number(wanted)
with resources.sessions().read() as session:
    shown = store.event_page(session, by, wanted, number=number, size=audit_panels.PAGE_SIZE)
audit_panels.events(shown, number, wanted)
