"""The tables and forms of the Accounts page: accounts and linked identities."""

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from db import store
from db.errors import NotAllowedError
from db.store.accounts import SHORTEST
from db.values.accounts import AccountRow, IdentityRow, TokenRow
from db.values.reading import Role
from pages.ui import components, formatting, resources

_ROUND = "accounts-round"  # counts what was done: fields of the next round begin empty
_DISABLE, _ENABLE = "disable", "enable"


def finish(words: str) -> None:
    """Begin the page anew, with empty fields, and say what was done."""
    st.session_state[_ROUND] = current_round() + 1
    components.announce(words)


def current_round() -> int:
    """Give the number that stands in the keys of fields which begin empty again."""
    return int(st.session_state.get(_ROUND, 0))


def account_table(rows: Sequence[AccountRow]) -> None:
    """Show every account and what it may do."""
    st.dataframe(
        {
            "name": [row.name for row in rows],
            "role": [str(row.role) for row in rows],
            "state": [_state(row) for row in rows],
            "since": [day(row.created_at) for row in rows],
        },
        hide_index=True,
    )


def token_table(rows: Sequence[TokenRow]) -> None:
    """Show every token but what it is: that was shown once."""
    if not rows:
        st.markdown("No program has a token.")
        return
    st.dataframe(
        {
            "number": [row.id for row in rows],
            "account": [row.account for row in rows],
            "label": [row.label for row in rows],
            "made": [day(row.created_at) for row in rows],
            "revoked": [day(row.revoked_at) if row.revoked_at else "" for row in rows],
        },
        hide_index=True,
    )


def add_form() -> None:
    """Ask for a new account."""
    with st.form(f"add-account-{current_round()}"):
        st.markdown("**New account**")
        name = st.text_input("Name", max_chars=200, autocomplete="off", key=f"name-{current_round()}")
        role = st.selectbox("Role", list(Role), format_func=str, key=f"first-role-{current_round()}") or Role.READER
        password = st.text_input(
            f"Password ({SHORTEST} characters or more)", type="password", key=f"first-password-{current_round()}"
        )
        without = st.checkbox("No password: signs in at an identity provider", key=f"without-{current_round()}")
        if st.form_submit_button("Add the account", type="primary"):
            if without and password:
                st.error("Either type a password or tick that there is none.")
                return
            by = resources.account().id
            try:
                with resources.sessions().begin() as session:
                    added = store.accounts.add_signing_account(session, by, name, role, None if without else password)
            except (ValueError, NotAllowedError) as error:
                st.error(formatting.plain(str(error)))
            else:
                finish(f"{formatting.plain(added.name)} may sign in as {added.role}.")


def change_form(rows: Sequence[AccountRow]) -> None:
    """Change another account; it is signed out everywhere at once."""
    with st.form(f"change-account-{current_round()}"):
        st.markdown("**Change an account** – it is signed out everywhere at once")
        row = st.selectbox(
            "Account", rows, format_func=lambda row: row.name, index=None, key=f"changed-{current_round()}"
        )
        role = st.selectbox(
            "New role", list(Role), format_func=str, index=None, placeholder="keep", key=f"next-role-{current_round()}"
        )
        password = st.text_input(
            "New password", type="password", placeholder="keep", key=f"next-password-{current_round()}"
        )
        switch = st.segmented_control("Access", [_DISABLE, _ENABLE], key=f"access-{current_round()}")
        if st.form_submit_button("Change it", type="primary"):
            if row is None or not (role or password or switch):
                st.error("Choose an account and what to change.")
                return
            try:
                _change(row.name, role, password, switch)
            except (ValueError, NotAllowedError) as error:
                st.error(formatting.plain(str(error)))
            else:
                finish(f"{formatting.plain(row.name)} was changed and signed out everywhere.")


def token_form(rows: Sequence[AccountRow]) -> None:
    """Ask for a new token; it stands on the screen until the next click."""
    with st.form("add-token"):
        st.markdown("**New token** – for a program that asks in the name of an account")
        row = st.selectbox("Account", rows, format_func=lambda row: row.name, index=None, key="account-of-the-token")
        label = st.text_input("What it is for", max_chars=100)
        if st.form_submit_button("Make the token", type="primary") and row is not None:
            by = resources.account().id
            try:
                with resources.sessions().begin() as session:
                    account = store.accounts.account_named(session, row.name)
                    secret = store.sign_ins.add_token(session, by, account, label) if account else ""
            except (ValueError, NotAllowedError) as error:
                st.error(formatting.plain(str(error)))
            else:
                st.markdown("Copy it now: it is not kept and cannot be shown again.")
                st.code(secret, None)


def revoke_form(rows: Sequence[TokenRow]) -> None:
    """End a token."""
    with st.form("revoke-token"):
        st.markdown("**Revoke a token** – it is refused at once")
        row = st.selectbox("Token", rows, format_func=lambda row: f"{row.id}: {row.account}, {row.label}", index=None)
        if st.form_submit_button("Revoke it", type="primary") and row is not None:
            by = resources.account().id
            with resources.sessions().begin() as session:
                store.sign_ins.revoke_token(session, by, row.id)
            finish(f"Token {row.id} is revoked.")


def _change(name: str, role: Role | None, password: str, switch: str | None) -> None:
    by = resources.account().id
    with resources.sessions().begin() as session:
        if role:
            store.accounts.set_role(session, by, name, role)
        if password:
            store.accounts.set_password(session, by, name, password)
        if switch:
            store.accounts.set_disabled(session, by, name, disabled=switch == _DISABLE)


def day(when: datetime) -> str:
    """Give a day as it is written on this page."""
    return f"{when:%Y-%m-%d}"


def _state(row: AccountRow) -> str:
    return "disabled" if row.disabled else "may sign in" if row.can_sign_in else "cannot sign in"


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
            "linked": [day(row.linked_at) for row in rows],
            "unlinked": [day(row.unlinked_at) if row.unlinked_at else "" for row in rows],
        },
        hide_index=True,
    )


def link_form(accounts: Sequence[AccountRow], known: Sequence[IdentityRow]) -> None:
    """Ask which identity may sign in as which account."""
    turn = current_round()
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
                    store.identities.link_identity(session, by, row.name, issuer, subject=subject, email=email)
            except (ValueError, NotAllowedError) as error:
                st.error(formatting.plain(str(error)))
            else:
                finish(f"An identity may sign in as {formatting.plain(row.name)}.")


def unlink_form(rows: Sequence[IdentityRow]) -> None:
    """End a link."""
    with st.form("unlink-identity"):
        st.markdown("**Unlink an identity** – its account is signed out everywhere at once")
        row = st.selectbox("Identity", rows, format_func=_words, index=None)
        if st.form_submit_button("Unlink it", type="primary") and row is not None:
            by = resources.account().id
            with resources.sessions().begin() as session:
                store.identities.unlink_identity(session, by, row.id)
            finish(f"Identity {row.id} is unlinked.")


def _words(row: IdentityRow) -> str:
    return f"{row.id}: {row.account}, {row.subject or row.email}"
