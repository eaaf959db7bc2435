"""The real server, asked by every role for everything it serves: routes, pages, websocket, media, upload, metrics."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from core.labels import BINARY
from db import store
from db.files import Files
from db.values.accounts import Role, TokenScope, may_hold
from db.values.reading import Opinion
from service.api.interface import ROUTERS
from service.intake import CasePlan, add_images
from service.routes import router
from tests.helpers.browser_tab import clicking_tab, open_page
from tests.helpers.databases import open_new
from tests.helpers.evaluations import add_evaluation, made_evaluation, made_images
from tests.helpers.gate import GateClient, Reply
from tests.helpers.images.tissue import tissue_png
from tests.helpers.server import Server, running_server
from tests.helpers.world import PASSWORD

pytestmark = pytest.mark.slow

_ACCESSION = "TELLTALE-CASE-17"
_READERS = {Role.READER, Role.ADJUDICATOR}
_EVERYBODY = set(Role)


@dataclass(frozen=True, slots=True)
class _Door:
    """One thing the server can be asked for, and who may have it."""

    path: str
    roles: set[Role]
    method: str = "GET"
    page: bool = False
    scope: TokenScope | None = None  # that a token needs; no role opens it in a browser
    any_scope: bool = False  # open to every token with a scope


# Every kind of thing; what is not our own belongs to Streamlit 1.67.
_DOORS = {
    "front page": _Door("/", _EVERYBODY, page=True),
    "front page by its name": _Door("/worklist", _EVERYBODY, page=True),
    # Streamlit answers every page with the same empty frame; what stands in it comes over the websocket.
    "deep link": _Door("/read_case?case=1", _EVERYBODY, page=True),
    "page file": _Door("/pages/frame.py", _EVERYBODY, page=True),
    "docs": _Door("/docs", _EVERYBODY, page=True, any_scope=True),
    "file of the docs": _Door("/docs/swagger-ui.css", _EVERYBODY, any_scope=True),
    "media": _Door("/media/0123456789abcdef.png", set()),  # nobody was given this file
    "upload": _Door("/_stcore/upload_file/session/file", set(), "PUT"),
    "delete upload": _Door("/_stcore/upload_file/session/file", set(), "DELETE"),
    "metrics": _Door("/_stcore/metrics", {Role.ADMINISTRATOR}),
    "streamlit health": _Door("/_stcore/health", _EVERYBODY),
    "script health": _Door("/_stcore/script-health-check", _EVERYBODY),
    "host config": _Door("/_stcore/host-config", _EVERYBODY),
    "agent": _Door("/_stcore/agent/interact", set(), "POST"),
    "agent schema": _Door("/_stcore/agent/openapi.json", set()),
    "agent tools": _Door("/_stcore/agent/mcp", set(), "POST"),
    "component": _Door("/component/x/index.html", _EVERYBODY),
    "component v2": _Door("/_stcore/bidi-components/x/index.js", _EVERYBODY),
    "static": _Door("/static/js/index.js", _EVERYBODY),
    "app static": _Door("/app/static/x.png", _EVERYBODY),
    # Streamlit's, which does nothing without a configured provider.
    "login": _Door("/auth/login", _EVERYBODY),
    "back from a provider": _Door("/oauth2callback?code=x&state=y", _EVERYBODY),
    "logout": _Door("/auth/logout", _EVERYBODY),
    "routes": _Door("/openapi.json", _EVERYBODY, any_scope=True),
    "page of models": _Door("/models", _EVERYBODY, page=True, any_scope=True),
    "models": _Door("/models", _EVERYBODY, any_scope=True),
    "predict an image": _Door("/predict/single", set(), "POST", scope=TokenScope.PREDICT),
    "predict a folder": _Door("/predict/folder", set(), "POST", scope=TokenScope.PREDICT),
    "add a case": _Door("/cases", set(), "POST", scope=TokenScope.CASES),
    "a case": _Door("/cases/1", set(), scope=TokenScope.CASES),
    "a job": _Door("/jobs/1", set(), scope=TokenScope.CASES),
    "reads": _Door("/reads", set(), scope=TokenScope.READS),
    "trace": _Door("/", _EVERYBODY, "TRACE"),
    "image": _Door("/images/1", _READERS),
    "thumbnail": _Door("/images/1/thumbnail", _READERS),
    "heat map": _Door("/images/1/heatmap", set()),  # nobody has read the case
    "scope map": _Door("/images/1/scope-map", set()),  # nor may anybody know that there is none
    "other image": _Door("/images/999", _READERS),
    "viewer": _Door("/assets/openseadragon.min.js", _EVERYBODY),
}
# The pages in the navigation of a role.
_CASES = ["Worklist", "Upload cases", "Read a case", "Agreement"]
_RESULTS = ["Evaluation", "Domain shift", "Models"]
_PAGES = {
    Role.READER: [*_CASES, *_RESULTS],
    Role.ADJUDICATOR: [*_CASES[:3], "Adjudication", *_CASES[3:], *_RESULTS],
    Role.RESEARCHER: ["Agreement", *_RESULTS],
    Role.ADMINISTRATOR: [*_RESULTS, "Planning", "Studies", "Accounts", "Audit trail"],
}
_ADDRESSES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "pages").glob("*.py"))


@dataclass(frozen=True, slots=True)
class _House:
    house: GateClient
    server: Server
    cookies: dict[Role, str]
    tokens: dict[tuple[Role, TokenScope | None], str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_House]:
    """A server with an account of each role, a case that nobody has read, and an evaluation with its picture."""
    data: Path = tmp_path_factory.mktemp("roles")
    sessions = open_new(data / "second_read.sqlite")
    tokens: dict[tuple[Role, TokenScope | None], str] = {}
    with sessions.begin() as session:
        for role in Role:
            account = store.accounts.add_signing_account(session, None, f"the {role}", role, PASSWORD)
            for scope in (None, *TokenScope):
                if scope is None or may_hold(role, scope):
                    tokens[role, scope] = store.sign_ins.add_token(session, None, account, "test", scope)
        reader = store.accounts.account_named(session, "the reader")
    assert reader is not None
    plan = CasePlan(reader.id, "100X", _ACCESSION)
    assert next(add_images(sessions, Files(data / "files"), plan, [("a.png", tissue_png(1))])).image_id == 1
    evaluated = [replace(image, source_sha256="0" * 64, file_sha256="0" * 64) for image in made_images(BINARY)]
    evaluated[7] = replace(evaluated[7], source_sha256=sha256(tissue_png(1)).hexdigest())
    add_evaluation(sessions, made_evaluation(BINARY), evaluated)
    with running_server(data, "127.0.0.1") as server:
        house = GateClient(server.port, sessions)
        cookies = {role: house.cookie(f"the {role}") for role in Role}
        yield _House(house, server, cookies, tokens)
    sessions.dispose()


def _let_in(door: _Door, reply: Reply) -> bool:
    """Say whether what answered stands behind the gate; it may well say that there is no such thing."""
    if reply.status in (401, 403):
        return False
    return not (reply.status == 303 and reply.headers["location"].startswith("/sign-in"))


def _ask(running: _House, door: _Door, **headers: str) -> Reply:
    accept = {"Accept": "text/html"} if door.page else {}
    return running.house.ask(door.path, door.method, **accept, **headers)


def test_every_route_of_ours_is_in_this_matrix() -> None:
    asked = {door.path for door in _DOORS.values()} | {"/health"}
    filled = {
        "/docs/{name}": "/docs/swagger-ui.css",
        "{image_id}": "1",
        "{case_id}": "1",
        "{job_id}": "1",
        "{name}": "openseadragon.min.js",
    }
    routes = [route for one in (router, *ROUTERS) for route in one.routes]
    assert len(routes) >= 14
    for route in routes:
        path = str(getattr(route, "path", ""))
        for placeholder, value in filled.items():
            path = path.replace(placeholder, value)
        assert path in asked, path


@pytest.mark.parametrize("kind", _DOORS)
def test_nobody_who_is_not_signed_in_gets_anything(running: _House, kind: str) -> None:
    door = _DOORS[kind]
    for headers in ({}, {"Cookie": "second_read=x"}, {"Authorization": "Bearer sr_x"}):
        reply = _ask(running, door, **headers)
        assert not _let_in(door, reply), (kind, reply)
        assert "streamlit" not in reply.text.lower(), kind


@pytest.mark.parametrize("role", list(Role), ids=str)
@pytest.mark.parametrize("kind", _DOORS)
def test_each_role_gets_what_it_may_have_and_nothing_else(running: _House, kind: str, role: Role) -> None:
    door = _DOORS[kind]
    reply = _ask(running, door, Cookie=running.cookies[role])
    assert _let_in(door, reply) is (role in door.roles), (kind, role, reply)


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_a_token_may_do_no_more_than_its_account(running: _House, role: Role) -> None:
    for kind, door in _DOORS.items():
        reply = _ask(running, door, Authorization=f"Bearer {running.tokens[role, None]}")
        allowed = role in door.roles and not door.path.startswith("/_stcore/")
        assert _let_in(door, reply) is allowed, (kind, role, reply)
    token = running.tokens[role, None]
    assert running.server.upgrade("/_stcore/stream", Authorization=f"Bearer {token}").status == 403


@pytest.mark.parametrize("scope", list(TokenScope), ids=str)
@pytest.mark.parametrize("role", list(Role), ids=str)
def test_a_token_with_a_scope_opens_what_it_is_for_and_nothing_else(
    running: _House, role: Role, scope: TokenScope
) -> None:
    assert ((role, scope) in running.tokens) is ((role in _READERS) is (scope is TokenScope.CASES))
    if (role, scope) not in running.tokens:
        return
    bearer = f"Bearer {running.tokens[role, scope]}"
    for kind, door in _DOORS.items():
        reply = _ask(running, door, Authorization=bearer)
        assert _let_in(door, reply) is (door.any_scope or door.scope is scope), (kind, role, scope, reply)
    assert running.server.upgrade("/_stcore/stream", Authorization=bearer).status == 403


def test_no_program_gets_a_prediction_of_the_unread_case_over_the_wire(running: _House) -> None:
    for path, name in (("/predict/single", "file"), ("/predict/folder", "files")):
        for role in (Role.RESEARCHER, Role.ADMINISTRATOR):
            answer = httpx.post(
                f"http://localhost:{running.house.port}{path}",
                headers={"Authorization": f"Bearer {running.tokens[role, TokenScope.PREDICT]}"},
                files=[(name, tissue_png(1)), (name, tissue_png(2))] if name == "files" else [(name, tissue_png(1))],
            )
            assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
            assert "must first be read without the model" in answer.json()["detail"]
            assert not {"prediction", "probabilities"} & set(answer.json())


def test_the_websocket_opens_for_those_who_are_signed_in_only(running: _House) -> None:
    for path in ("/_stcore/stream", "/health", "/images/1", "/sign-in"):
        assert running.server.upgrade(path).status == 403
    for cookie in running.cookies.values():
        assert running.server.upgrade("/_stcore/stream", Cookie=cookie).status == 101


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_each_role_gets_its_pages_and_no_case_if_it_may_not(running: _House, role: Role) -> None:
    for page in ("", *_ADDRESSES):
        shown = open_page(running.house.port, running.cookies[role], page, "case=1")
        assert not shown.failed, (page, shown.words[-3000:])
        assert shown.pages == _PAGES[role]
        assert f"signed in as the {role}" in shown.words
        if role is Role.ADMINISTRATOR and page in ("planning", "audit"):
            assert _ACCESSION in shown.words
        elif role not in _READERS:
            assert _ACCESSION not in shown.words, page
            assert "/images/1" not in shown.words, page
        elif page in ("worklist", "read_case"):
            assert _ACCESSION in shown.words, page


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_an_evaluation_shows_the_picture_of_the_unread_case_to_no_reader(running: _House, role: Role) -> None:
    with clicking_tab(running.house.port, running.cookies[role]) as tab:
        tab.open("evaluation")
        first = tab.words
        tab.choose("View", "Images")
    hidden, images = role in _READERS, len(made_images(BINARY))
    assert ("1 image left out, because cases that you have not finished contain the same pictures" in first) is hidden
    assert (f"all images ({images - hidden})" in tab.words) is True
    warned = "This evaluation shares 1 image with 1 case" in first
    assert warned is (role is Role.ADMINISTRATOR)


@pytest.mark.parametrize(
    ("role", "first", "foreign"),
    [
        (Role.READER, "worklist", "accounts"),
        (Role.RESEARCHER, "agreement", "worklist"),
        (Role.ADMINISTRATOR, "evaluation", "agreement"),
    ],
)
def test_the_first_page_has_its_own_address_too_and_a_foreign_one_says_whose_it_is(
    running: _House, role: Role, first: str, foreign: str
) -> None:
    for page, is_foreign in (("", False), (first, False), (foreign, True)):
        shown = open_page(running.house.port, running.cookies[role], page)
        assert not shown.missing, page
        assert ("is not for your role" in shown.words) is is_foreign, page
        assert (f"you are signed in as {role}" in shown.words) is is_foreign, page
    assert open_page(running.house.port, running.cookies[role], "no_such_page").missing


def test_the_study_page_says_why_it_is_missing_to_a_reader_of_no_study(running: _House) -> None:
    shown = open_page(running.house.port, running.cookies[Role.READER], "read_study")
    assert "read in no open study" in shown.words


def test_what_one_account_was_given_another_cannot_fetch(running: _House) -> None:
    with running.house.sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "another administrator", Role.ADMINISTRATOR, PASSWORD)
    own = running.cookies[Role.ADMINISTRATOR]
    with clicking_tab(running.house.port, own) as tab:
        tab.open("audit")
        address = tab.download(re.findall(r'deferred_file_id: "([0-9a-f]+)"', tab.words)[0])
        assert address.startswith("/media/")
        assert "signed in" in running.house.ask(address, Cookie=own).text
        for other in (running.house.cookie("another administrator"), running.cookies[Role.READER]):
            refused = running.house.ask(address, Cookie=other)
            assert (refused.status, "signed in" in refused.text) == (403, False)
        assert running.house.ask(address).status == 401


def test_two_readers_of_one_case_are_two(running: _House) -> None:
    with running.house.sessions.begin() as session:
        reader = store.accounts.add_signing_account(session, None, "one more reader", Role.READER, PASSWORD)
        store.reads.record_first_read(
            session, 1, reader.id, Opinion("malignant", 4, note="my telltale note"), datetime.now(UTC)
        )
    own = open_page(running.house.port, running.house.cookie("one more reader"), "read_case", "case=1")
    other = open_page(running.house.port, running.cookies[Role.READER], "read_case", "case=1")
    assert "my telltale note" not in other.words
    assert "Save and reveal" in other.words
    assert "Save and reveal" not in own.words
