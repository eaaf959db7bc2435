"""A server with an identity provider, and a browser in front of it."""

from collections.abc import Iterator

import pytest

from tests.helpers.single_sign_on import Browser, SingleSignOn, running_single_sign_on


@pytest.fixture(scope="module")
def sso(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SingleSignOn]:
    """One server and one provider for all tests of a file; each makes accounts of its own."""
    with running_single_sign_on(tmp_path_factory.mktemp("sso")) as made:
        yield made


@pytest.fixture
def window(sso: SingleSignOn) -> Iterator[Browser]:
    """A browser without cookies."""
    with sso.browser() as opened:
        yield opened
