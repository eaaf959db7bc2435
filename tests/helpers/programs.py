"""The routes for programs behind the gate, in this process: accounts of all roles, their tokens, and a fake engine."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from core.pipeline import analyse
from db import store
from db.database import Sessions
from db.values.accounts import Account, Lifetime, Role, TokenScope, may_hold
from service.access.gate import Gate
from service.access.sessions import Access
from service.api.interface import add_interface
from service.api.limits import RequestLimits
from service.api.routing import let_programs_in
from service.engine.requests import AnalysisAnswer, AnalysisRequest
from service.installation import Installation
from service.routes import answer_our_errors, router
from tests.helpers.fakes import FakeClassifier, nothing
from tests.helpers.world import World, open_world

VERSION = "0123456789ab"


@dataclass(slots=True)
class FakeEngine:
    """Analyses with the fake classifier, in this process, and remembers what it was asked.

    `meanwhile` happens in another thread before it answers, and `versions` are those of its next answers.
    """

    classifier: FakeClassifier = field(default_factory=FakeClassifier)
    meanwhile: Callable[[], object] = nothing
    asked: list[AnalysisRequest] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    fails: Exception | None = None

    async def analyse(self, request: AnalysisRequest) -> AnalysisAnswer:
        """Analyse one image at once."""
        self.asked.append(request)
        if self.fails is not None:
            raise self.fails
        await run_in_threadpool(self.meanwhile)
        found = analyse(request.data, self.classifier, heatmap=request.heatmap, um_per_px=request.um_per_px)
        return AnalysisAnswer(found, self.versions.pop(0) if self.versions else VERSION, cached=False, seconds=0.01)


@dataclass(frozen=True, slots=True)
class Interface:
    """A server of routes for programs, and what is behind it."""

    world: World
    installation: Installation
    engine: FakeEngine
    client: TestClient
    app: FastAPI
    behind_gate: ASGIApp
    tokens: Mapping[tuple[Role, TokenScope | None], str]

    @property
    def sessions(self) -> Sessions:
        """Its database."""
        return self.installation.sessions

    def headers(self, scope: TokenScope | None, role: Role | None = None) -> dict[str, str]:
        """Return the headers of a program with a token, of the first role that may hold it if none is named."""
        role = role or next(one for one in Role if scope is None or may_hold(one, scope))
        return {"Authorization": f"Bearer {self.tokens[role, scope]}"}

    def predict(self, *images: bytes, key: str | None = None, folder: bool = False, **form: str) -> Response:
        """Ask for predictions, of one image or of a folder."""
        headers = self.headers(TokenScope.PREDICT) | ({"Idempotency-Key": key} if key else {})
        name = "files" if folder or len(images) != 1 else "file"
        files = [(name, (f"field {number}.png", image, "image/png")) for number, image in enumerate(images, start=1)]
        path = "/predict/folder" if name == "files" else "/predict/single"
        return self.client.post(path, headers=headers, files=files, data=form)

    def add_case(self, *images: bytes, key: str | None = None, **form: str) -> Response:
        """Add a case."""
        headers = self.headers(TokenScope.CASES) | ({"Idempotency-Key": key} if key else {})
        files = [("files", (f"field {number}.png", image, "image/png")) for number, image in enumerate(images, start=1)]
        return self.client.post("/cases", headers=headers, files=files, data=form)

    def account(self, role: Role) -> Account:
        """Return the account of a role."""
        with self.sessions.read() as session:
            account = store.accounts.account_named(session, f"the {role}")
        assert account is not None
        return account

    def change_limits(self, limits: RequestLimits) -> None:
        """Let in what other limits let in, from now on."""
        let_programs_in(self.app, limits)


def unpack(encoded: str) -> bytes:
    """Return the bytes of a file in an answer."""
    return base64.b64decode(encoded, validate=True)


@contextmanager
def running_interface(folder: Path) -> Iterator[Interface]:
    """Serve the routes to programs, which come through a proxy, until the block ends."""
    engine = FakeEngine()
    with open_world(folder) as world:
        opened = Installation.open(world.settings)
        access = Access(opened.sessions, Lifetime(), behind_proxy=True)
        installation = replace(opened, access=access, analyser=engine)
        app = FastAPI(title="Second Read", docs_url=None, redoc_url=None)
        app.state.installation = installation
        app.state.assets = folder
        answer_our_errors(app)
        app.include_router(router)
        add_interface(app)
        behind_gate = Gate(app, lambda: installation)
        with TestClient(behind_gate, raise_server_exceptions=False) as client:
            yield Interface(world, installation, engine, client, app, behind_gate, _add_tokens(opened.sessions))
        installation.close()


def _add_tokens(sessions: Sessions) -> dict[tuple[Role, TokenScope | None], str]:
    tokens: dict[tuple[Role, TokenScope | None], str] = {}
    with sessions.begin() as session:
        for role in Role:
            account = store.accounts.add_signing_account(session, None, f"the {role}", role, None)
            for scope in (None, *TokenScope):
                if scope is None or may_hold(role, scope):
                    tokens[role, scope] = store.sign_ins.add_token(session, None, account, f"{scope}", scope)
    return tokens
