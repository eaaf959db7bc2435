"""A websocket asks again and again whether its visitor is still signed in, and says whether the visitor was active."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from service.access.websocket import GuardedWebsocket
from tests.helpers.concurrency import run_async


def test_a_message_of_the_browser_counts_as_activity_and_the_watch_does_not() -> None:
    asked: list[bool] = []
    watched = asyncio.Event()

    async def is_still(active: bool) -> bool:
        asked.append(active)
        watched.set()
        return True

    async def receive() -> Message:
        await watched.wait()
        return {"type": "websocket.receive", "text": "a click"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["text"] == "a click"

    run_async(GuardedWebsocket(receive, send, is_still).run(app, {"type": "websocket"}))
    assert asked == [False, True]
