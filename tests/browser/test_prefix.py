"""Second Read under a prefix in a real browser: by Streamlit's option, and behind nginx with TLS."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from db import store
from db.values.accounts import Role, TokenScope
from tests.browser.conftest import SCREENSHOTS, Server
from tests.helpers.browser_steps import at_rest, choose, chosen, picture, read_first
from tests.helpers.databases import open_new
from tests.helpers.nginx import running_nginx
from tests.helpers.world import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_PREFIX = "/second-read"
_PATIENCE_MS = 60_000


@pytest.fixture
def prefixed(tmp_path: Path, checkpoint: Path) -> Iterator[Server]:
    """A server with Streamlit's option, on an empty data folder."""
    SCREENSHOTS.mkdir(exist_ok=True)
    running = Server(tmp_path, checkpoint, _PREFIX)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def image(shared_data: Path) -> Path:
    """One real image of BreaKHis at 100X: on generated tissue the model gives no opinion."""
    return sorted((shared_data / "breakhis").rglob("*-100-*.png"))[0]


def _read_one_case(page: Page, address: str, image: Path) -> list[str]:
    """Upload, read, reveal, finish and export one case; return every address that the browser asked for."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/upload_cases")
    choose(page, image)
    page.get_by_role("button", name="Store images").click()
    expect(page.get_by_text("1 of 1 images ready")).to_be_visible()
    at_rest(page)
    page.get_by_role("button", name="Read this case").click()
    expect(page.locator(".sr-zoom")).to_have_text(re.compile(r"\d+%"))
    read_first(page, "m", "4")
    agrees = "malignant" in page.get_by_text("Model says").inner_text()
    page.keyboard.press("a" if agrees else "d")
    chosen(page, "Keep mine" if agrees else "Change to")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 final")).to_be_visible()
    page.goto(f"{address}/read_case?case=1")
    page.get_by_role("button", name="Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF report").click()
    assert download.value.path().read_bytes().startswith(b"%PDF")
    for route in ("/images/1", "/images/1/heatmap", "/assets/", "/_stcore/upload_file/", "/media/"):
        assert [url for url in asked if route in url], route
    return asked


@pytest.mark.data
def test_the_reading_loop_works_under_the_base_path_of_streamlit(page: Page, prefixed: Server, image: Path) -> None:
    page.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    sockets: list[str] = []
    page.on("websocket", lambda opened: sockets.append(opened.url))
    asked = _read_one_case(page, prefixed.url, image)
    outside = [url for url in asked if not url.startswith((f"{prefixed.url}/", "data:", "blob:"))]
    # Streamlit looks for its base path in the folders above the page.
    assert [url for url in outside if not url.endswith(("/_stcore/health", "/_stcore/host-config"))] == []
    assert all(f":{prefixed.port}{_PREFIX}/_stcore/stream" in url for url in sockets)
    page.goto(prefixed.url)  # without a slash behind the prefix
    expect(page.get_by_text("1 final")).to_be_visible()
    assert page.url == f"{prefixed.url}/"
    picture(page, "worklist under a prefix")


@pytest.mark.data
@pytest.mark.parametrize("strips", [False, True], ids=["prefix passed on", "prefix stripped"])
def test_behind_nginx_with_tls_readers_sign_in_read_and_sign_out_under_a_prefix(
    browser: Browser, tmp_path: Path, checkpoint: Path, image: Path, monkeypatch: pytest.MonkeyPatch, *, strips: bool
) -> None:
    monkeypatch.setenv("SECOND_READ_BEHIND_PROXY", "1")
    expect.set_options(timeout=_PATIENCE_MS)
    sessions = open_new(tmp_path / "second_read.sqlite")
    with sessions.begin() as session:
        reader = store.accounts.add_signing_account(session, None, "the reader", Role.READER, PASSWORD)
        researcher = store.accounts.add_signing_account(session, None, "the researcher", Role.RESEARCHER, PASSWORD)
        sees = store.sign_ins.add_token(session, None, reader, "a viewer")
        predicts = store.sign_ins.add_token(session, None, researcher, "a laboratory system", TokenScope.PREDICT)
    sessions.dispose()
    server = Server(tmp_path, checkpoint, "" if strips else _PREFIX)
    with running_nginx(tmp_path / "nginx", server.port, strips=strips) as address:
        server.start()
        context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(f"{address}/images/1")  # an image in a tab of its own: the sign-in page, not JSON
        assert page.url == f"{address}/sign-in?next=/images/1"
        page.goto(f"{address}/upload_cases")
        page.get_by_label("Name").fill("the reader")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("signed in as the reader")).to_be_visible()
        assert page.url == f"{address}/upload_cases"
        asked = _read_one_case(page, address, image)
        own = [url for url in asked if not url.startswith(("data:", "blob:"))]
        assert [url for url in own if not url.startswith(f"{address}/") and "/_stcore/h" not in url] == []
        assert all(cookie["path"] == _PREFIX for cookie in context.cookies() if cookie["name"] == "second_read")
        at_rest(page)
        page.get_by_role("link", name="Sign out").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        assert page.url == f"{address}/sign-in"
        page.goto(f"{address}/read_case?case=1")
        assert page.url == f"{address}/sign-in?next=/read_case%3Fcase%3D1"
        context.close()
        trusted = ssl.create_default_context(cafile=tmp_path / "nginx" / "certificate.pem")
        with httpx.Client(verify=trusted, timeout=60) as program:
            _ask_as_a_program(program, address, sees)
            _predict_as_a_program(program, address, predicts, sorted(image.parent.glob("*.png"))[1])
        server.stop()


def _ask_as_a_program(program: httpx.Client, address: str, token: str) -> None:
    """Ask what any token may see."""
    program.headers["Authorization"] = f"Bearer {token}"
    assert program.get(f"{address}/health").json()["worker"] == "ready"
    assert program.get(f"{address}/openapi.json").json()["info"]["title"] == "Second Read"
    assert program.get(f"{address}/docs/swagger-ui.css").headers["content-type"].startswith("text/css")
    for image in ("images/1", "images/1/heatmap"):
        assert program.get(f"{address}/{image}").headers["content-type"] == "image/png"
    assert program.get(address).headers["location"] == "/second-read/"


def _predict_as_a_program(program: httpx.Client, address: str, token: str, image: Path) -> None:
    """Get a prediction for an image that is in no case."""
    answer = program.post(
        f"{address}/predict/single",
        files={"file": (image.name, image.read_bytes())},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["num_patches"] > 0
