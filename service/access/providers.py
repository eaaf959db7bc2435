"""The gate's view of identity providers; Streamlit's st.login talks to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from db.values.accounts import Identity

# Streamlit's own routes: the redirect to a provider, and the return from it.
LOGIN, CALLBACK = "/auth/login", "/oauth2callback"
# Prefix of Streamlit's cookies that hold an identity; the gate removes them, so that no browser ever stores one.
STREAMLIT_USER = "_streamlit_user"


@dataclass(frozen=True, slots=True)
class Provider:
    """One identity provider: its name in the settings and the label shown to readers."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class VerifiedIdentity:
    """An identity that a provider has just confirmed."""

    identity: Identity
    provider: Provider


class Providers(Protocol):
    """The configured providers, as Streamlit knows them."""

    @property
    def known(self) -> tuple[Provider, ...]:
        """Every configured provider."""

    @property
    def address(self) -> str:
        """The address of Second Read to which providers redirect browsers, such as `https://reads.example`."""

    def ticket(self, provider: Provider) -> str:
        """Return the token that Streamlit's login route requires for this provider; valid for two minutes."""

    def verified(self, set_cookies: Sequence[str]) -> VerifiedIdentity | None:
        """Return the identity in the Set-Cookie headers of Streamlit's callback response; None without a valid one."""
