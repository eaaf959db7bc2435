"""Draw the tables and forms of the Accounts page: accounts, linked identities and tokens."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.errors import NotAllowedError
from db.store.accounts import SHORTEST
from db.values.accounts import AccountRow, IdentityRow, Role, TokenRow, TokenScope
from pages.ui import components, formatting, resources, times

# Session key of the number of changes: fields have it in their keys, so that they are empty after each change.
_FORMS = "accounts"
_SCOPES: dict[TokenScope | None, str] = {
    None: "see images as the account does",
    TokenScope.PREDICT: "get predictions",
    TokenScope.CASES: "add cases and follow their progress",
    TokenScope.READS: "export reads without names",
}
_DISABLE, _ENABLE = "disable", "enable"


def draw_account_table(rows: Sequence[AccountRow]) -> None:
    """Draw all accounts with their roles and states."""
    st.dataframe(
        {
            "Name": [row.name for row in rows],
            "Role": [str(row.role) for row in rows],
            "State": [_state_words(row) for row in rows],
            "Since": [times.format_date(row.created_at) for row in rows],
        },
        hide_index=True,
    )


def _state_words(row: AccountRow) -> str:
    return "disabled" if row.disabled else "may sign in" if row.can_sign_in else "cannot sign in"


def draw_add_form() -> None:
    """Ask for a new account."""
    number = components.form_number(_FORMS)
    with st.form(f"add-account-{number}"):
        st.markdown("**New account**")
        name = st.text_input("Name", max_chars=200, autocomplete="off", key=f"name-{number}")
        role = st.selectbox("Role", list(Role), format_func=str, key=f"first-role-{number}") or Role.READER
        password = st.text_input(
            f"Password (at least {SHORTEST} characters)", type="password", key=f"first-password-{number}"
        )
        without = st.checkbox("No password: signs in through an identity provider", key=f"without-{number}")
        if st.form_submit_button("Add account", type="primary"):
            if without and password:
                st.error('Enter a password or tick "No password", not both.')
                return
            by = resources.account().id
            try:
                with resources.sessions().begin() as session:
                    added = store.accounts.add_signing_account(session, by, name, role, None if without else password)
            except (ValueError, NotAllowedError) as error:
                st.error(formatting.escape(str(error)))
            else:
                finish(f"{formatting.escape(added.name)} may sign in as {added.role}.")


def draw_change_form(rows: Sequence[AccountRow]) -> None:
    """Ask for a change of another account; it is signed out everywhere at once."""
    number = components.form_number(_FORMS)
    with st.form(f"change-account-{number}"):
        st.markdown("**Change an account** – it will be signed out everywhere immediately")
        row = st.selectbox("Account", rows, format_func=lambda row: row.name, index=None, key=f"changed-{number}")
        role = st.selectbox(
            "New role", list(Role), format_func=str, index=None, placeholder="keep", key=f"next-role-{number}"
        )
        password = st.text_input("New password", type="password", placeholder="keep", key=f"next-password-{number}")
        switch = st.segmented_control("Access", [_DISABLE, _ENABLE], key=f"access-{number}")
        if st.form_submit_button("Change account", type="primary"):
            if row is None or not (role or password or switch):
                st.error("Choose an account and what to change.")
                return
            try:
                _change(row.name, role, password, switch)
            except (ValueError, NotAllowedError) as error:
                st.error(formatting.escape(str(error)))
            else:
                finish(f"{formatting.escape(row.name)} was changed and signed out everywhere.")


def _change(name: str, role: Role | None, password: str, switch: str | None) -> None:
    by = resources.account().id
    with resources.sessions().begin() as session:
        if role:
            store.accounts.set_role(session, by, name, role)
        if password:
            store.accounts.set_password(session, by, name, password)
        if switch:
            store.accounts.set_disabled(session, by, name, disabled=switch == _DISABLE)


def draw_identity_table(rows: Sequence[IdentityRow]) -> None:
    """Draw who may sign in through a provider, and to which account."""
    if not rows:
        st.markdown("No provider identity is linked to an account.")
        return
    st.dataframe(
        {
            "Number": [row.id for row in rows],
            "Account": [row.account for row in rows],
            "Issuer": [row.issuer for row in rows],
            "Subject": [row.subject or "not yet signed in" for row in rows],
            "E-mail": [row.email for row in rows],
            "Linked": [times.format_date(row.linked_at) for row in rows],
            "Unlinked": [times.format_date(row.unlinked_at) if row.unlinked_at else "" for row in rows],
        },
        hide_index=True,
    )


def draw_link_form(accounts: Sequence[AccountRow], known: Sequence[IdentityRow]) -> None:
    """Ask which identity may sign in to which account."""
    number = components.form_number(_FORMS)
    with st.form(f"link-identity-{number}"):
        st.markdown("**Link an identity** – it can then sign in to the account through its provider")
        row = st.selectbox(
            "Account", accounts, format_func=lambda row: row.name, index=None, key=f"linked-account-{number}"
        )
        # Most installations have one provider: its issuer needs to be typed only once.
        issuer = st.text_input(
            "Issuer", known[0].issuer if known else "", max_chars=255, autocomplete="off", key=f"issuer-{number}"
        )
        subject = st.text_input("Subject", max_chars=255, autocomplete="off", key=f"subject-{number}")
        email = st.text_input(
            "or e-mail address, verified by the provider", max_chars=255, autocomplete="off", key=f"email-{number}"
        )
        if st.form_submit_button("Link identity", type="primary"):
            if row is None:
                st.error("Choose an account.")
                return
            by = resources.account().id
            try:
                with resources.sessions().begin() as session:
                    store.identities.link_identity(session, by, row.name, issuer, subject=subject, email=email)
            except (ValueError, NotAllowedError) as error:
                st.error(formatting.escape(str(error)))
            else:
                finish(f"The identity may now sign in as {formatting.escape(row.name)}.")


def draw_unlink_form(rows: Sequence[IdentityRow]) -> None:
    """Ask which identity to unlink."""
    with st.form("unlink-identity"):
        st.markdown("**Unlink an identity** – its account will be signed out everywhere immediately")
        row = st.selectbox("Identity", rows, format_func=_identity_words, index=None)
        if st.form_submit_button("Unlink identity", type="primary") and row is not None:
            by = resources.account().id
            with resources.sessions().begin() as session:
                store.identities.unlink_identity(session, by, row.id)
            finish(f"Identity {row.id} was unlinked.")


def _identity_words(row: IdentityRow) -> str:
    return f"{row.id}: {row.account}, {row.subject or row.email}"


def draw_token_table(rows: Sequence[TokenRow]) -> None:
    """Draw all tokens, without their secrets: these are shown only when created."""
    if not rows:
        st.markdown("There are no tokens yet.")
        return
    st.dataframe(
        {
            "Number": [row.id for row in rows],
            "Account": [row.account for row in rows],
            "Label": [row.label for row in rows],
            "Allowed to": [_SCOPES[row.scope] for row in rows],
            "Created": [times.format_date(row.created_at) for row in rows],
            "Revoked": [times.format_date(row.revoked_at) if row.revoked_at else "" for row in rows],
        },
        hide_index=True,
    )


def draw_token_form(rows: Sequence[AccountRow]) -> None:
    """Ask for a new token, and show it until the next click."""
    with st.form("add-token"):
        st.markdown("**New token** – for a program that acts on behalf of an account")
        row = st.selectbox("Account", rows, format_func=lambda row: row.name, index=None, key="account-of-the-token")
        scope = st.selectbox("What it may do", list(_SCOPES), format_func=_SCOPES.__getitem__, key="scope-of-the-token")
        st.caption(
            "A program that gets predictions needs an account that reads no cases, such as a researcher's account made "
            "for it. A program that adds cases needs a reader's account."
        )
        label = st.text_input("What it is for", max_chars=100)
        if st.form_submit_button("Create token", type="primary") and row is not None:
            by = resources.account().id
            try:
                with resources.sessions().begin() as session:
                    account = store.accounts.account_named(session, row.name)
                    secret = store.sign_ins.add_token(session, by, account, label, scope) if account else ""
            except (ValueError, NotAllowedError) as error:
                st.error(formatting.escape(str(error)))
            else:
                st.markdown("Copy it now: it is not stored and cannot be shown again.")
                st.code(secret, None)


def draw_revoke_form(rows: Sequence[TokenRow]) -> None:
    """Ask which token to revoke."""
    with st.form("revoke-token"):
        st.markdown("**Revoke a token** – it stops working immediately")
        row = st.selectbox("Token", rows, format_func=lambda row: f"{row.id}: {row.account}, {row.label}", index=None)
        if st.form_submit_button("Revoke token", type="primary") and row is not None:
            by = resources.account().id
            with resources.sessions().begin() as session:
                store.sign_ins.revoke_token(session, by, row.id)
            finish(f"Token {row.id} was revoked.")


def finish(words: str) -> None:
    """Redraw the page with empty fields, and announce what was done."""
    components.empty_form(_FORMS)
    components.announce(words)
