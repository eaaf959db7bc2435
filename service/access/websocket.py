"""A websocket that is closed as soon as the one who opened it is no longer signed in."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# How long a page may still draw after a sign-out; the next click is refused anyway.
LOOK_EVERY_SECONDS = 1.0
_POLICY = 1008  # close code of RFC 6455: the server's rules forbid to go on

_log = logging.getLogger("second_read.gate")

# Asked with whether the browser just did something.
StillSignedIn = Callable[[bool], Awaitable[bool]]


class Watched:
    """One open websocket: every message in is checked first, and the time between them each second."""

    def __init__(self, receive: Receive, send: Send, is_still: StillSignedIn) -> None:
        self._receive = receive
        self._send = send
        self._is_still = is_still
        self._ended = asyncio.Event()

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Serve the websocket until it closes or its visitor is signed out."""
        watching = asyncio.create_task(self._watch())
        try:
            await app(scope, self._next, self._pass_on)
        finally:
            watching.cancel()

    async def _next(self) -> Message:
        ended = asyncio.create_task(self._ended.wait())
        incoming = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait({ended, incoming}, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.is_set():
                message = incoming.result()
                if message["type"] != "websocket.receive" or await self._look(active=True):
                    return message
        finally:
            ended.cancel()
            incoming.cancel()
        return {"type": "websocket.disconnect", "code": _POLICY}

    async def _pass_on(self, message: Message) -> None:
        if not self._ended.is_set():
            await self._send(message)

    async def _watch(self) -> None:
        while await self._look(active=False):
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _look(self, *, active: bool) -> bool:
        """Look whether the visitor is still signed in, and close if not, or if nobody can tell."""
        try:
            still = await self._is_still(active)
        except Exception:
            _log.exception("a websocket was closed: whether its reader is signed in cannot be told")
            still = False
        if not still and not self._ended.is_set():
            self._ended.set()
            await self._send({"type": "websocket.close", "code": _POLICY, "reason": "signed out"})
        return still
