"""The content security policy in a real browser: our pages work under it, and nothing comes from another host."""

import pytest
from playwright.sync_api import ConsoleMessage, Page, Route, expect

from tests.browser.conftest import Server
from tests.helpers.browser_steps import at_rest, open_app, read_first

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_ELSEWHERE = "http://elsewhere.example"
_PAGES = (
    "",
    "upload_cases",
    "read_case?case=1",
    "agreement",
    "evaluation",
    "domain_shift",
    "models",
    "studies",
    "audit",
)
# Each of these makes a browser fetch something for the page that it is on.
_WAYS = {
    "picture": "document.body.append(Object.assign(new Image(), { src: WHERE }))",
    "script": "document.body.append(Object.assign(document.createElement('script'), { src: WHERE }))",
    "style": "document.body.append(Object.assign(document.createElement('link'), { rel: 'stylesheet', href: WHERE }))",
    "rule": "document.body.style.backgroundImage = `url(${WHERE})`",
    "frame": "document.body.append(Object.assign(document.createElement('iframe'), { src: WHERE }))",
    "fetch": "fetch(WHERE, { mode: 'no-cors' }).catch(() => 0)",
    "beacon": "navigator.sendBeacon(WHERE, 'x')",
    "font": "new FontFace('x', `url(${WHERE})`).load().catch(() => 0)",
    "video": "document.body.append(Object.assign(document.createElement('video'), { src: WHERE, preload: 'auto' }))",
}


@pytest.fixture
def arrived(page: Page) -> list[str]:
    """What the browser asked of another host, which answers everything."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=200, body="", headers={"Access-Control-Allow-Origin": "*"})

    page.route(f"{_ELSEWHERE}/**", answer)
    return asked


def _try_all(page: Page) -> None:
    for way, script in _WAYS.items():
        page.evaluate(f"() => {{ {script.replace('WHERE', repr(f'{_ELSEWHERE}/{way}'))} }}")


def test_a_page_fetches_nothing_from_another_host(page: Page, server: Server, arrived: list[str]) -> None:
    open_app(page, server)
    page.evaluate(
        "() => { window.refused = 0; addEventListener('securitypolicyviolation', () => window.refused += 1) }"
    )
    _try_all(page)
    page.wait_for_function(f"() => window.refused >= {len(_WAYS)}")
    assert arrived == []


def test_without_the_policy_each_of_these_would_have_fetched_something(page: Page, arrived: list[str]) -> None:
    page.route("http://home.example/", lambda route: route.fulfill(status=200, content_type="text/html", body="<p>hi"))
    page.goto("http://home.example/")
    _try_all(page)
    wanted = {f"{_ELSEWHERE}/{way}" for way in _WAYS}
    while not wanted <= set(arrived):  # the time limit of the test ends it if one never comes
        page.wait_for_timeout(50)


@pytest.mark.worker
def test_no_page_of_ours_needs_what_the_policy_forbids(page: Page, server: Server) -> None:
    said: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            said.append(message.text)

    page.on("console", note)
    open_app(page, server)
    page.get_by_role("button", name="Create a demo case").click()
    read_first(page, "m", "4")
    for path in _PAGES:
        page.goto(f"{server.url}/{path}")
        expect(page.get_by_text("Research use only").first).to_be_visible()
        at_rest(page)
    assert said == []
