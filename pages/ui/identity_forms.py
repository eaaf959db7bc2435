"""The table and forms of linked identities on the page Accounts."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.access_values import AccountRow
from db.identity_values import IdentityRow
from pages.ui import account_forms, panels, resources


def identity_table(rows: Sequence[IdentityRow]) -> None:
    """Show who may sign in at a provider, and as whom."""
    if not rows:
        st.markdown("No identity of a provider is linked to an account.")
        return
    st.dataframe(
        {
            "number": [row.id for row in rows],
            "account": [row.account for row in rows],
            "issuer": [row.issuer for row in rows],
            "subject": [row.subject or "not yet signed in" for row in rows],
            "e-mail": [row.email for row in rows],
            "linked": [account_forms.day(row.linked_at) for row in rows],
            "unlinked": [account_forms.day(row.unlinked_at) if row.unlinked_at else "" for row in rows],
        },
        hide_index=True,
    )


def link_form(accounts: Sequence[AccountRow], known: Sequence[IdentityRow]) -> None:
    """Ask which identity may sign in as which account."""
    turn = account_forms.current_round()
    with st.form(f"link-identity-{turn}"):
        st.markdown("**Link an identity** – its provider's sign-in then opens the account")
        row = st.selectbox(
            "Account", accounts, format_func=lambda row: row.name, index=None, key=f"linked-account-{turn}"
        )
        # Most installations have one provider: its name has to be typed once.
        issuer = st.text_input(
            "Issuer", known[0].issuer if known else "", max_chars=255, autocomplete="off", key=f"issuer-{turn}"
        )
        subject = st.text_input("Subject", max_chars=255, autocomplete="off", key=f"subject-{turn}")
        email = st.text_input(
            "or e-mail address, verified by the provider", max_chars=255, autocomplete="off", key=f"email-{turn}"
        )
        if st.form_submit_button("Link it", type="primary"):
            if row is None:
                st.error("Choose the account.")
                return
            by = resources.account().id
            try:
                with resources.sessions().begin() as session:
                    store.link_identity(session, by, row.name, issuer, subject=subject, email=email)
            except (ValueError, store.NotAllowedError) as error:
                st.error(panels.plain(str(error)))
            else:
                account_forms.finish(f"An identity may sign in as {panels.plain(row.name)}.")


def unlink_form(rows: Sequence[IdentityRow]) -> None:
    """End a link."""
    with st.form("unlink-identity"):
        st.markdown("**Unlink an identity** – its account is signed out everywhere at once")
        row = st.selectbox("Identity", rows, format_func=_words, index=None)
        if st.form_submit_button("Unlink it", type="primary") and row is not None:
            by = resources.account().id
            with resources.sessions().begin() as session:
                store.unlink_identity(session, by, row.id)
            account_forms.finish(f"Identity {row.id} is unlinked.")


def _words(row: IdentityRow) -> str:
    return f"{row.id}: {row.account}, {row.subject or row.email}"
