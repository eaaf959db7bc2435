"""What the gate knows of identity providers; Streamlit's st.login speaks with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from db.values.accounts import Identity

# Streamlit's own routes: the way to a provider, and the way back.
LOGIN, CALLBACK = "/auth/login", "/oauth2callback"
# Streamlit's cookies with who somebody is; the gate takes them out of its answers, so no browser ever keeps one.
STREAMLIT_USER = "_streamlit_user"


@dataclass(frozen=True, slots=True)
class Provider:
    """One identity provider: its name in the settings, and what readers call it."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Verified:
    """An identity that a provider vouched for just now."""

    identity: Identity
    provider: Provider


class Providers(Protocol):
    """The configured providers, by way of Streamlit."""

    @property
    def known(self) -> tuple[Provider, ...]:
        """Every provider that was configured."""

    @property
    def origin(self) -> str:
        """The address that providers send browsers back to, as `https://reads.example`."""

    def ticket(self, provider: Provider) -> str:
        """Give what Streamlit's route asks for to send a browser to a provider; it holds for two minutes."""

    def verified(self, set_cookies: Sequence[str]) -> Verified | None:
        """Say whom Streamlit's answer on the way back signs in, from its Set-Cookie headers; None for nobody."""
