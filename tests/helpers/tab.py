"""A browser tab without a browser: opens a page over the websocket and keeps every byte the server sends."""

from dataclasses import dataclass

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Subprotocol

_PATIENCE_SECONDS = 60
_DRAWN = ForwardMsg.ScriptFinishedStatus.FINISHED_SUCCESSFULLY


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page sent until it was drawn."""

    pages: list[str]  # titles in the navigation
    words: str  # every message as text
    failed: bool
    missing: bool  # "Page not found", over the first page


def open_page(port: int, cookie: str, page: str = "", query: str = "") -> Shown:
    """Open a page of the server as a browser does, and wait until it is drawn."""
    asked = BackMsg()
    asked.rerun_script.query_string = query
    asked.rerun_script.page_name = page
    where, origin = f"ws://localhost:{port}/_stcore/stream", f"http://localhost:{port}"
    headers = {"Origin": origin} | ({"Cookie": cookie} if cookie else {})
    pages: list[str] = []
    words: list[str] = []
    missing = False
    with connect(
        where, additional_headers=headers, subprotocols=[Subprotocol("streamlit")], max_size=None
    ) as websocket:
        websocket.send(asked.SerializeToString())
        while True:
            data = websocket.recv(timeout=_PATIENCE_SECONDS)
            message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
            words.append(str(message))
            if message.WhichOneof("type") == "navigation":
                pages = [found.page_name for found in message.navigation.app_pages if not found.is_hidden]
            missing = missing or message.WhichOneof("type") == "page_not_found"
            # A page that asks to be drawn anew ends early first.
            if message.WhichOneof("type") == "script_finished" and message.script_finished == _DRAWN:
                break
    text = "\n".join(words)
    return Shown(pages, text, "exception {" in text, missing)
