"""A websocket that closes as soon as the visitor who opened it is no longer signed in."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# How long a page may keep drawing after a sign-out; the next click is refused in any case.
CHECK_EVERY_SECONDS = 1.0
_POLICY = 1008  # close code "policy violation" of RFC 6455

_log = logging.getLogger("second_read.gate")

# Its argument: whether the browser has just sent a message.
SignInCheck = Callable[[bool], Awaitable[bool]]


class GuardedWebsocket:
    """One open websocket: the sign-in is checked before every incoming message and once a second in between."""

    def __init__(self, receive: Receive, send: Send, is_still: SignInCheck) -> None:
        self._receive = receive
        self._send = send
        self._is_still = is_still
        self._ended = asyncio.Event()

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Serve the websocket until it closes or its visitor is signed out."""
        watching = asyncio.create_task(self._watch())
        try:
            await app(scope, self._receive_checked, self._send_while_open)
        finally:
            watching.cancel()

    async def _receive_checked(self) -> Message:
        ended = asyncio.create_task(self._ended.wait())
        incoming = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait({ended, incoming}, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.is_set():
                message = incoming.result()
                if message["type"] != "websocket.receive" or await self._check(active=True):
                    return message
        finally:
            ended.cancel()
            incoming.cancel()
        return {"type": "websocket.disconnect", "code": _POLICY}

    async def _send_while_open(self, message: Message) -> None:
        if not self._ended.is_set():
            await self._send(message)

    async def _watch(self) -> None:
        while await self._check(active=False):
            await asyncio.sleep(CHECK_EVERY_SECONDS)

    async def _check(self, *, active: bool) -> bool:
        """Check whether the visitor is still signed in; close the websocket if not, or if the check fails."""
        try:
            still = await self._is_still(active)
        except Exception:
            _log.exception("a websocket was closed because its sign-in could not be checked")
            still = False
        if not still and not self._ended.is_set():
            self._ended.set()
            await self._send({"type": "websocket.close", "code": _POLICY, "reason": "signed out"})
        return still
