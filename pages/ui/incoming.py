"""Refuses what no browser of ours sends, before Streamlit stores it: it would fail again at every click until a reload.

Streamlit keeps the state of each widget as it came, and reads it whenever the page runs. JSON that cannot be read, or
a NUL in the name of a file, is therefore an error of the whole page for as long as the session lasts.
"""

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus

from google.protobuf.message import DecodeError
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

_DEEPEST = 16  # levels; our viewer sends five
_NUL = "\0"
_END_OF_HEAD, _LONGEST_HEAD = b"\r\n\r\n", 16_384  # of the form with an uploaded file, in bytes

_log = logging.getLogger("second_read.incoming")


class CheckedMessages:
    """Passes requests to Streamlit, and the messages of browser tabs without what could not be read."""

    def __init__(self, pages: ASGIApp) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one tab."""

        async def receive_checked() -> Message:
            message = await receive()
            data = message.get("bytes") if message["type"] == "websocket.receive" else None
            return {**message, "bytes": refuse_unreadable(data)} if data else message

        if scope["type"] == "websocket":
            await self._pages(scope, receive_checked, send)
        elif scope["type"] == "http" and scope["method"] == "PUT":
            await self._take_upload(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _take_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an uploaded file on, unless there is a NUL in its name: it stands before the first empty line."""
        read = [await receive()]
        head = bytearray(read[0].get("body", b""))
        while _END_OF_HEAD not in head and len(head) < _LONGEST_HEAD and read[-1].get("more_body"):
            read.append(await receive())
            head += read[-1].get("body", b"")
        if b"\0" in head.partition(_END_OF_HEAD)[0]:
            refused = PlainTextResponse("The name of this file cannot be read.", HTTPStatus.BAD_REQUEST)
            await refused(scope, receive, send)
            return
        waiting = iter(read)

        async def receive_again() -> Message:
            return next(waiting, None) or await receive()

        await self._pages(scope, receive_again, send)


def refuse_unreadable(data: bytes) -> bytes:
    """Return a message of a browser tab without widget states that no page can read, and without NUL in texts.

    A widget without a state begins anew; all others keep what they have.
    """
    try:
        message = BackMsg.FromString(data)
    except DecodeError:
        return data  # Streamlit ends a connection that speaks another language
    if message.WhichOneof("type") != "rerun_script":
        return data
    states = message.rerun_script.widget_states
    kept = [_without_nul(state) for state in states.widgets if _is_readable(state)]
    if len(kept) < len(states.widgets):
        _log.warning("a browser tab sent %d widget states that cannot be read", len(states.widgets) - len(kept))
    del states.widgets[:]
    states.widgets.extend(kept)
    changed: bytes = message.SerializeToString()
    return changed


def _is_readable(state: WidgetState) -> bool:
    kind = state.WhichOneof("value")
    if kind not in ("json_value", "json_trigger_value"):
        return True
    try:
        return _is_flat(json.loads(state.json_value if kind == "json_value" else state.json_trigger_value))
    except (ValueError, RecursionError):
        return False


def _is_flat(value: object, depth: int = 0) -> bool:
    if isinstance(value, str):
        return _NUL not in value
    inner: Sequence[object] = ()
    if isinstance(value, list):
        inner = value
    elif isinstance(value, dict):
        inner = (*value, *value.values())
    return depth < _DEEPEST and all(_is_flat(each, depth + 1) for each in inner)


def _without_nul(state: WidgetState) -> WidgetState:
    kind = state.WhichOneof("value")
    if kind == "string_value":
        state.string_value = state.string_value.replace(_NUL, "")
    elif kind == "string_array_value":
        cleaned = [text.replace(_NUL, "") for text in state.string_array_value.data]
        del state.string_array_value.data[:]
        state.string_array_value.data.extend(cleaned)
    return state
