"""Addresses under a prefix: every one that is sent to a browser stays below it, and the gate reads paths as routers."""

import socket
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from service.access.gate import Gate
from service.access.prefix import PagesUnderPrefix, own_path, prefix_of, relative_address


@pytest.mark.parametrize(("option", "prefix"), [("", ""), ("/", ""), ("x", "/x"), ("/x/", "/x"), ("a/b", "/a/b")])
def test_the_prefix_is_read_from_streamlits_option(option: str, prefix: str) -> None:
    assert prefix_of(option) == prefix


@pytest.mark.parametrize("root_path", ["", "/second-read"], ids=["stripped by a proxy", "passed on"])
@pytest.mark.parametrize("path", ["/", "/read_case", "/images/1", "/images/1/heatmap"])
@pytest.mark.parametrize("wanted", ["/", "/sign-in?next=/images/1", "/read_case?case=7", "/https:evil.example"])
def test_a_relative_address_leads_below_the_prefix_from_every_page(root_path: str, path: str, wanted: str) -> None:
    found = relative_address({"type": "http", "path": f"{root_path}{path}", "root_path": root_path}, wanted)
    assert urljoin(f"https://reads.example/second-read{path}", found) == f"https://reads.example/second-read{wanted}"


def test_the_prefix_alone_is_no_path_and_a_longer_name_is_another() -> None:
    paths = ("/second-read", "/second-read/", "/second-reader/x", "/x", "/second-read/second-read/x")
    found = [own_path({"path": path, "root_path": "/second-read"}) for path in paths]
    assert found == ["", "/", "/second-reader/x", "/x", "/second-read/x"]


async def _page(request: Request) -> Response:
    if request.url.path.endswith("/old"):
        return RedirectResponse("/second-read/new?x=1")
    return PlainTextResponse(f"{request.url.path} of {request.scope['root_path']!r}")


@pytest.fixture
def browser() -> Iterator[TestClient]:
    """A browser in front of the gate, a route of ours, and pages that know their whole path."""
    app = FastAPI()

    @app.get("/images/{number}")
    def image(number: int) -> int:
        return number

    app.mount("/", PagesUnderPrefix(Starlette(routes=[Route("/second-read/{path:path}", _page)]), "/second-read"))
    app.add_middleware(Gate, prefix="/second-read")
    # The gate looks at the sockets on which this process listens.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        where = f"http://localhost:{listening.getsockname()[1]}"
        with TestClient(app, where, follow_redirects=False) as client:
            yield client


@pytest.mark.parametrize("arrives", ["/second-read", ""], ids=["passed on", "stripped by a proxy"])
def test_routes_and_pages_are_found_whether_or_not_a_proxy_strips_the_prefix(browser: TestClient, arrives: str) -> None:
    assert browser.get(f"{arrives}/images/7").json() == 7
    assert browser.get(f"{arrives}/read_case").text == "/second-read/read_case of ''"
    assert browser.get(f"{arrives}/deep/old").headers["location"] == "../new?x=1"


def test_the_prefix_alone_leads_to_the_folder(browser: TestClient) -> None:
    answer = browser.get("/second-read")
    assert answer.status_code == 308
    assert urljoin("http://localhost/second-read", answer.headers["location"]) == "http://localhost/second-read/"
