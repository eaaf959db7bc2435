"""The settings of identity providers, as Streamlit documents them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.errors import StreamlitAuthError
from streamlit.runtime.secrets import secrets_singleton

from pages.ui.openid_settings import StreamlitProviders, configured_providers

SHARED = 'redirect_uri = "https://reads.example/oauth2callback"\ncookie_secret = "0123456789abcdef0123456789abcdef"\n'
CLIENT = 'client_id = "a"\nclient_secret = "b"\nserver_metadata_url = "https://id.example/.well-known/x"\n'


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    secrets_singleton._reset()
    yield
    secrets_singleton._reset()


def _configure(words: str) -> StreamlitProviders | None:
    folder = Path(".streamlit")
    folder.mkdir()
    (folder / "secrets.toml").write_text(words)
    return configured_providers()


def _labels(words: str) -> list[tuple[str, str]]:
    found = _configure(words)
    assert found is not None
    assert found.address == "https://reads.example"
    return [(provider.name, provider.label) for provider in found.known]


def test_without_settings_there_is_no_provider() -> None:
    assert configured_providers() is None
    assert _configure('[other]\nkey = "x"\n') is None


def test_an_unnamed_provider_is_called_by_its_address() -> None:
    kwargs = 'client_kwargs = { prompt = "login" }\n'
    assert _labels(f"[auth]\n{SHARED}{CLIENT}{kwargs}") == [("default", "id.example")]


def test_named_providers_are_called_by_their_names() -> None:
    named = f"[auth]\n{SHARED}[auth.okta]\n{CLIENT}[auth.microsoft]\n{CLIENT}"
    assert _labels(named) == [("okta", "okta"), ("microsoft", "microsoft")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (f"[auth]\n{SHARED}", "missing"),
        (f"[auth]\n{CLIENT}", "redirect_uri"),
        ('[auth]\nredirect_uri = "https://reads.example/oauth2callback"\n' + CLIENT, "cookie_secret"),
        (f'[auth]\n{SHARED}[auth.okta]\nclient_id = "a"\n', "client_secret"),
        (f"[auth]\n{SHARED}[auth.two_words]\n{CLIENT}", "underscore"),
    ],
)
def test_a_missing_setting_is_named_when_the_server_starts(words: str, says: str) -> None:
    with pytest.raises(StreamlitAuthError, match=says):
        _configure(words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (SHARED.replace("abcdef0123456789abcdef", "") + CLIENT, "cookie_secret in secrets.toml must have at least 32"),
        (SHARED.replace("/oauth2callback", "/") + CLIENT, "redirect_uri"),
        (SHARED.replace("https://reads.example", "") + CLIENT, "redirect_uri"),
    ],
)
def test_a_setting_that_would_not_work_or_not_protect_is_refused(words: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _configure(f"[auth]\n{words}")


def test_the_redirect_address_may_have_the_prefix_under_which_a_proxy_serves_us() -> None:
    found = _configure(f"[auth]\n{SHARED.replace('/oauth2callback', '/second-read/oauth2callback')}{CLIENT}")
    assert found is not None
    assert found.address == "https://reads.example/second-read"


def test_what_is_no_answer_of_streamlit_verifies_nobody() -> None:
    found = _configure(f"[auth]\n{SHARED}{CLIENT}")
    assert found is not None
    for line in ("_streamlit_user=x; Path=/", '_streamlit_user=""; Max-Age=0', "_streamlit_session=y", "odd"):
        assert found.verified([line]) is None
    assert found.verified([]) is None
