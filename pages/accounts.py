"""Who may sign in and in which role, and the tokens of programs; for administrators."""

import streamlit as st

from db import store
from pages.ui import accounts, components, resources

by = resources.account().id
with resources.sessions().read() as session:
    rows = store.accounts.account_rows(session, by)
    tokens = store.sign_ins.token_rows(session, by)
    identities = store.identities.identity_rows(session, by)
components.show_announcement()
accounts.draw_account_table(rows)
left, right = st.columns(2, gap="medium")
with left:
    accounts.draw_add_form()
with right:
    accounts.draw_change_form([row for row in rows if row.can_sign_in and row.id != by])
st.subheader("Identities")
accounts.draw_identity_table(identities)
left, right = st.columns(2, gap="medium")
with left:
    accounts.draw_link_form([row for row in rows if row.can_sign_in], identities)
with right:
    accounts.draw_unlink_form([row for row in identities if row.unlinked_at is None])
st.subheader("Tokens")
accounts.draw_token_table(tokens)
left, right = st.columns(2, gap="medium")
with left:
    accounts.draw_token_form([row for row in rows if row.can_sign_in and not row.disabled])
with right:
    accounts.draw_revoke_form([row for row in tokens if row.revoked_at is None])
