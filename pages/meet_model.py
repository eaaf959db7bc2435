"""Meet the model: what it learned from, what it is good and bad at, and what its numbers and colours mean."""

import streamlit as st

from db import store
from db.values.accounts import Permission
from pages.ui import formatting, meet_model, resources

file = resources.checkpoint()
if file.card is None:
    st.markdown(f"No model is in service: {formatting.escape(file.problem or '')}.")
else:
    meet_model.draw_explanation(file.card, file.version)
    if resources.may(Permission.READ_CASES):
        reader = resources.account().id
        with resources.sessions().read() as session:
            confirmed = store.models.is_confirmed(session, reader, file.version)
        meet_model.ask_on_page(file.version, confirmed=confirmed)
