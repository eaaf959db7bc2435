"""Who did what to what, and when, and whether that record was tampered with; for administrators."""

from db import store
from pages.ui import audit, resources

by = resources.account().id
with resources.sessions().read() as session:
    choices = store.audit.event_choices(session, by)
audit.draw_verification()
chosen = audit.ask_filter(choices)
number = audit.page_number(chosen)
with resources.sessions().read() as session:
    page = store.audit.event_page(session, by, chosen, number=number, size=audit.PAGE_SIZE)
audit.draw_events(page, number, chosen)
