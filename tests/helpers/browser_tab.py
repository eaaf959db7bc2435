"""A browser tab without a browser: it opens pages, types and presses buttons, and keeps every byte the server sends."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

_PATIENCE_SECONDS = 120  # a page waits half a minute for a locked database
_DRAWN = ForwardMsg.ScriptFinishedStatus.FINISHED_SUCCESSFULLY
_FRAGMENT_DRAWN = ForwardMsg.ScriptFinishedStatus.FINISHED_FRAGMENT_RUN_SUCCESSFULLY


class ClickingTab:
    """One tab of a running server."""

    def __init__(self, websocket: ClientConnection, port: int) -> None:
        self._websocket, self._port = websocket, port
        self.number = ""
        self._widgets: dict[str, str] = {}  # number of each button and field, by its label
        self._fragments: dict[str, str] = {}  # of each button that is drawn anew without the whole page
        self._typed: dict[str, WidgetState] = {}
        self._page, self._drawn, self._query = "", "", ""  # what was asked for, and the number of what came
        self.received: list[bytes] = []
        self.words = ""  # of all that the last click drew
        self.all_words = ""

    def open(self, page: str, query: str = "") -> None:
        """Go to a page and wait until it is drawn."""
        self._page, self._drawn, self._query = page, "", query
        self._typed.clear()
        self.send()
        self.wait()

    def draw_anew(self) -> None:
        """Have the whole page drawn with what stands in it, as after a lost connection."""
        self.send()
        self.wait()

    def type(self, label: str, text: str) -> None:
        """Write into a field; it is sent with the next click."""
        self._typed[label] = WidgetState(id=self._number(label), string_value=text)

    def send_state(self, state: WidgetState) -> None:
        """Have the page drawn with a state of a widget that no browser of ours would send, and with all others."""
        self._typed["sent by hand"] = state
        self.draw_anew()

    def download(self, file_id: str) -> str:
        """Click a download that was drawn with this number, and return the address of the file that is made then."""
        asked = BackMsg()
        asked.backend_operation_request.request_id = file_id
        asked.backend_operation_request.session_id = self.number
        asked.backend_operation_request.deferred_file.file_id = file_id
        self._websocket.send(asked.SerializeToString())
        while (answer := self._receive()).WhichOneof("type") != "backend_operation_response":
            continue
        made = answer.backend_operation_response
        assert not made.error_msg, made
        return str(made.deferred_file.url)

    def choose(self, label: str, option: str) -> None:
        """Choose one of several buttons that stand side by side, and have the page drawn with it."""
        state = WidgetState(id=self._number(label))
        state.string_array_value.data[:] = [option]
        self._typed[label] = state
        self.draw_anew()

    def upload(self, label: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Hand over files as a browser does, and have the page drawn with them; in single-reader mode only."""
        asked = BackMsg()
        asked.file_urls_request.file_names.extend(name for name, _ in files)
        asked.file_urls_request.session_id = self.number
        self._websocket.send(asked.SerializeToString())
        while (answer := self._receive()).WhichOneof("type") != "file_urls_response":
            continue
        state = WidgetState(id=self._widgets[label])
        for (name, data), place in zip(files, answer.file_urls_response.file_urls, strict=True):
            _put(self._port, place.upload_url, name, data)
            one = state.file_uploader_state_value.uploaded_file_info.add(name=name, size=len(data))
            one.file_id = place.file_id
            one.file_urls.CopyFrom(place)
        self._typed[label] = state
        self.draw_anew()

    def press(self, *labels: str) -> None:
        """Press buttons, each as soon as the one before is answered; a label may be its beginning."""
        for label in labels:
            self.send(label)
            self.wait()

    def send(self, pressed: str = "") -> None:
        """Send what a browser sends at a click, and do not wait for the answer."""
        asked = BackMsg()
        asked.rerun_script.query_string = self._query
        asked.rerun_script.page_name = "" if self._drawn else self._page
        asked.rerun_script.page_script_hash = self._drawn
        asked.rerun_script.widget_states.widgets.extend(self._typed.values())
        if pressed:
            number = self._number(pressed)
            asked.rerun_script.widget_states.widgets.append(WidgetState(id=number, trigger_value=True))
            asked.rerun_script.fragment_id = self._fragments.get(number, "")
        self._websocket.send(asked.SerializeToString())

    def wait(self) -> None:
        """Read until the page is drawn."""
        words: list[str] = []
        while True:
            message = self._receive()
            words.append(_readable(str(message)))
            if message.WhichOneof("type") == "delta" and message.delta.WhichOneof("type") == "new_element":
                self._remember(message.delta)
            if message.WhichOneof("type") == "new_session":
                self.number = message.new_session.initialize.session_id
            if message.WhichOneof("type") == "navigation":
                self._drawn = message.navigation.page_script_hash
            if message.WhichOneof("type") == "page_info_changed":
                self._query = message.page_info_changed.query_string
            # A page that asks to be drawn anew ends early first.
            if message.WhichOneof("type") == "script_finished" and message.script_finished in (_DRAWN, _FRAGMENT_DRAWN):
                break
        self.words = "\n".join(words)
        self.all_words += self.words
        assert "exception {" not in self.words, self.words[-3000:]

    def _receive(self) -> ForwardMsg:
        data = self._websocket.recv(timeout=_PATIENCE_SECONDS)
        raw = data if isinstance(data, bytes) else data.encode()
        self.received.append(raw)
        message: ForwardMsg = ForwardMsg.FromString(raw)
        return message

    def _remember(self, delta: Delta) -> None:
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind == "button":
            self._widgets[element.button.label] = element.button.id
            self._fragments[element.button.id] = delta.fragment_id
        elif kind == "text_area":
            self._widgets[element.text_area.label] = element.text_area.id
        elif kind == "text_input":
            self._widgets[element.text_input.label] = element.text_input.id
        elif kind == "button_group":
            self._widgets[element.button_group.label] = element.button_group.id
        elif kind == "file_uploader":
            self._widgets[element.file_uploader.label] = element.file_uploader.id

    def _number(self, label: str) -> str:
        found = [number for known, number in self._widgets.items() if known.startswith(label)]
        assert found, (label, list(self._widgets))
        return found[-1]


@contextmanager
def clicking_tab(port: int, cookie: str = "", *, resume: str = "") -> Iterator[ClickingTab]:
    """Open a tab until the block ends, as a browser does; or go on in one of this number that lost its connection."""
    headers = {"Origin": f"http://localhost:{port}"} | ({"Cookie": cookie} if cookie else {})
    where = f"ws://localhost:{port}/_stcore/stream"
    protocols = [Subprotocol(word) for word in ("streamlit", *(("xsrf", resume) if resume else ()))]
    patience = 60  # seconds for the handshake, which waits for a server that is just starting
    with connect(
        where, additional_headers=headers, subprotocols=protocols, max_size=None, open_timeout=patience
    ) as websocket:
        yield ClickingTab(websocket, port)


def _put(port: int, path: str, name: str, data: bytes) -> None:
    """Upload one file as the form that a browser makes of it."""
    connection = HTTPConnection("localhost", port, timeout=_PATIENCE_SECONDS)
    connection.request("GET", "/_stcore/health")
    answer = connection.getresponse()
    answer.read()
    cookie = answer.getheader("Set-Cookie", "").partition(";")[0]
    head = f'--limit\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=limit", "Cookie": cookie}
    headers |= {"X-Xsrftoken": cookie.partition("=")[2]}
    connection.request("PUT", path, head.encode() + data + b"\r\n--limit--\r\n", headers)
    answer = connection.getresponse()
    assert answer.status == 204, answer.read()
    connection.close()


def _readable(message: str) -> str:
    """Write letters beyond ASCII as they are; protobuf writes some of them as three octal digits a byte."""
    return re.sub(r"(?:\\[0-7]{3})+", lambda found: _from_octal(found[0]), message)


def _from_octal(digits: str) -> str:
    return bytes(int(byte, 8) for byte in digits.split("\\")[1:]).decode(errors="replace")


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
