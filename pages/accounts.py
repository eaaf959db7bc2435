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
st.subheader("Accounts")
accounts.account_table(rows)
left, right = st.columns(2, gap="medium")
with left:
    accounts.add_form()
with right:
    accounts.change_form([row for row in rows if row.can_sign_in and row.id != by])
st.subheader("Identities")
accounts.identity_table(identities)
left, right = st.columns(2, gap="medium")
with left:
    accounts.link_form([row for row in rows if row.can_sign_in], identities)
with right:
    accounts.unlink_form([row for row in identities if row.unlinked_at is None])
st.subheader("Tokens")
accounts.token_table(tokens)
left, right = st.columns(2, gap="medium")
with left:
    accounts.token_form([row for row in rows if row.can_sign_in and not row.disabled])
with right:
    accounts.revoke_form([row for row in tokens if row.revoked_at is None])
