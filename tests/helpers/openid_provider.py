"""A small OpenID provider on a real socket: discovery, authorization, tokens signed with RS256, and its keys."""

import base64
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.helpers.concurrency import wait_until

CLIENT, CLIENT_SECRET = "second-read", "what the provider told the administrator"


@dataclass
class OpenIdProvider:
    """A running provider that signs in whoever stands in `person`, and lies in its tokens when told to."""

    port: int
    person: dict[str, object] = field(default_factory=dict)
    lies: dict[str, object] = field(default_factory=dict)  # claims that replace the right ones
    answers_to: set[str] = field(default_factory=lambda: {"authorize", "token"})
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    signs_with: RSAKey | None = None
    refuses: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)  # the authorization requests
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        """The name of the provider, which is its address."""
        return f"http://127.0.0.1:{self.port}"

    def is_honest_about(self, sub: str, **claims: object) -> None:
        """Sign in this person from now on, with nothing wrong."""
        self.person, self.lies, self.signs_with = {"sub": sub, **claims}, {}, None
        self.answers_to, self.refuses = {"authorize", "token"}, False

    def discovery(self, request: Request) -> Response:
        """Describe the provider."""
        if "authorize" not in self.answers_to:
            return Response("down for maintenance", 503)
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    def authorize(self, request: Request) -> Response:
        """Send the browser back with a code, as if the person had typed their password."""
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        self.asked.append(asked)
        if self.refuses:
            answer = {"error": "access_denied", "error_description": "<b>no</b>", "state": asked["state"]}
        else:
            code = secrets.token_urlsafe(16)
            self.codes[code] = asked
            answer = {"code": code, "state": asked["state"]}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 302)

    async def token(self, request: Request) -> Response:
        """Give the token for a code, once, to the client that knows its secret and began the way."""
        if "token" not in self.answers_to:
            return Response("down for maintenance", 503)
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        client = base64.b64decode(request.headers["authorization"].partition(" ")[2]).decode()
        assert unquote(client) == f"{CLIENT}:{CLIENT_SECRET}"
        asked = self.codes.pop(form["code"], None)
        if asked is None or form["redirect_uri"] != asked["redirect_uri"] or not _began(form, asked):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        claims |= self.person | self.lies
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signs_with or self.key)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": signed})

    def keys(self, request: Request) -> Response:
        """Give the public keys."""
        return JSONResponse(KeySet([self.key]).as_dict(private=False))


def _began(form: dict[str, str], asked: dict[str, str]) -> bool:
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]


@contextmanager
def running_provider() -> Iterator[OpenIdProvider]:
    """Run a provider until the block ends."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    provider = OpenIdProvider(int(listening.getsockname()[1]))
    routes = [
        Route("/.well-known/openid-configuration", provider.discovery),
        Route("/authorize", provider.authorize),
        Route("/token", provider.token, methods=["POST"]),
        Route("/keys", provider.keys),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    wait_until(lambda: server.started, seconds=20)
    try:
        yield provider
    finally:
        server.should_exit = True
        thread.join()
