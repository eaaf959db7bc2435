"""Identity providers from `.streamlit/secrets.toml`, as Streamlit documents them for st.login, for the gate."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from streamlit import auth_util
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from db.values.accounts import Identity, normalise_email
from service.access.providers import CALLBACK, Provider, VerifiedIdentity

_DEFAULT = "default"  # Streamlit's name for a provider whose settings are in [auth] itself
_NO_PROVIDER = ("client_kwargs",)  # sections of [auth] that are not providers
_SHORTEST_SECRET = 32  # characters; the secret signs the state that a provider must return unchanged


def configured_providers() -> "StreamlitProviders | None":
    """Return the providers from the settings; None without any.

    Raises:
        StreamlitAuthError: If a setting is missing.
        ValueError: If the cookie secret is too short or the redirect address is wrong.
    """
    section = auth_util.get_secrets_auth_section()
    if not section:
        return None
    names = [name for name in section if isinstance(section[name], Mapping) and name not in _NO_PROVIDER]
    if "client_id" in section:
        names.insert(0, _DEFAULT)
    for name in names or [_DEFAULT]:
        auth_util.validate_auth_credentials(name)
    if len(str(section["cookie_secret"])) < _SHORTEST_SECRET:
        raise ValueError(f"auth.cookie_secret in secrets.toml must have at least {_SHORTEST_SECRET} random characters")
    url = urlsplit(auth_util.get_validated_redirect_uri() or "")
    if not url.path.endswith(CALLBACK) or not url.netloc:
        raise ValueError(f"auth.redirect_uri in secrets.toml must be the address of Second Read followed by {CALLBACK}")
    address = f"{url.scheme}://{url.netloc}{url.path.removesuffix(CALLBACK)}"
    return StreamlitProviders(tuple(_provider(name) for name in names), address)


@dataclass(frozen=True, slots=True)
class StreamlitProviders:
    """The configured providers, with access to Streamlit's tokens and cookies."""

    known: tuple[Provider, ...]
    address: str

    def ticket(self, provider: Provider) -> str:
        """Return the token that Streamlit's login route requires for this provider; valid for two minutes."""
        return auth_util.encode_provider_token(provider.name)

    def verified(self, set_cookies: Sequence[str]) -> VerifiedIdentity | None:
        """Return the identity in the Set-Cookie headers of Streamlit's callback response; None without a valid one."""
        parts = (line.partition(";")[0].partition("=") for line in set_cookies)
        cookies = {name: value for name, _, value in parts}

        def read_signed(name: str) -> bytes | None:
            return decode_signed_value(get_cookie_secret(), name, cookies.get(name, ""))

        content = auth_util.get_cookie_with_chunks(read_signed, USER_COOKIE_NAME)
        claims: dict[str, object] = json.loads(content) if content else {}
        for provider in self.known:
            if claims.get("provider") == provider.name and _is_for_us(claims, provider):
                return _verified(claims, provider)
        return None


def _provider(name: str) -> Provider:
    url = urlsplit(_setting(name, "server_metadata_url"))
    return Provider(name, (url.hostname or name) if name == _DEFAULT else name)


def _setting(name: str, key: str) -> str:
    section = auth_util.get_secrets_auth_section()
    return str(section.get(name, section)[key])


def _is_for_us(claims: Mapping[str, object], provider: Provider) -> bool:
    # Authlib verifies signature, issuer, nonce and time, but not that the token was issued to this client.
    audience = claims.get("aud")
    return _setting(provider.name, "client_id") in (audience if isinstance(audience, list) else [audience])


def _verified(claims: Mapping[str, object], provider: Provider) -> VerifiedIdentity | None:
    issuer, subject, email = claims.get("iss"), claims.get("sub"), claims.get("email")
    if not isinstance(issuer, str) or not isinstance(subject, str):
        return None
    verified_email = normalise_email(email) if isinstance(email, str) and claims.get("email_verified") is True else ""
    try:
        return VerifiedIdentity(Identity(issuer, subject, verified_email), provider)
    except ValueError:
        return None
