"""Who may sign in and as what, and the tokens of programs; for administrators."""

import streamlit as st

from db import store
from pages.ui import account_forms, components, identity_forms, resources

by = resources.account().id
with resources.sessions().read() as session:
    accounts = store.account_rows(session, by)
    tokens = store.token_rows(session, by)
    identities = store.identity_rows(session, by)
components.show_announcement()
st.subheader("Accounts")
account_forms.account_table(accounts)
left, right = st.columns(2, gap="medium")
with left:
    account_forms.add_form()
with right:
    account_forms.change_form([row for row in accounts if row.can_sign_in and row.id != by])
st.subheader("Identities")
identity_forms.identity_table(identities)
left, right = st.columns(2, gap="medium")
with left:
    identity_forms.link_form([row for row in accounts if row.can_sign_in], identities)
with right:
    identity_forms.unlink_form([row for row in identities if row.unlinked_at is None])
st.subheader("Tokens")
account_forms.token_table(tokens)
left, right = st.columns(2, gap="medium")
with left:
    account_forms.token_form([row for row in accounts if row.can_sign_in and not row.disabled])
with right:
    account_forms.revoke_form([row for row in tokens if row.revoked_at is None])
