"""Everything that a server sent over the wire, and the many ways in which something may be written there."""

import base64
import math
import struct
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import quote

_ALIGNMENTS = 3  # what stands in front of something decides how Base64 writes it


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer over HTTP, whole."""

    status: int
    headers: str
    body: bytes


@dataclass(frozen=True, slots=True)
class SentBytes:
    """What a server sent, and where."""

    port: int
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answered:
        """Ask once, and keep the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Host": f"localhost:{self.port}"} | sent)
        answer = connection.getresponse()
        found = Answered(answer.status, str(answer.headers), answer.read())
        connection.close()
        self.heard.append((f"{method} {path}", found.headers.encode() + found.body))
        return found

    def note(self, what: str, messages: list[bytes]) -> None:
        """Keep what came over a websocket."""
        self.heard.extend((what, message) for message in messages)

    def places_of(self, spellings: list[bytes]) -> list[str]:
        """Say where one of some spellings stands."""
        return [f"{where}: {found!r}" for where, data in self.heard for found in spellings if found in data]


def spelled_text(text: str) -> list[bytes]:
    """Write a text in every way in which it may travel."""
    data = text.encode()
    written = [data, text.encode("utf-16-le"), quote(text).encode(), data.hex().encode()]
    return [*dict.fromkeys(written), *_in_base64(data)]


def spelled_number(value: float, digits: int = 5) -> list[bytes]:
    """Write a number in every way in which it may travel: its first digits, and its eight bytes."""
    # Cut off, not rounded: the longer spellings begin with these digits.
    scale = 10**digits
    text = f"{math.trunc(value * scale) / scale:.{digits}f}".encode()
    eight = [struct.pack(order + "d", value) for order in "<>"]
    return [text, *eight, *(each.hex().encode() for each in eight), *(s for each in eight for s in _in_base64(each))]


def _in_base64(data: bytes) -> list[bytes]:
    """Give the characters that Base64 writes of some bytes, whatever stands before and after them."""
    found = []
    for before in range(_ALIGNMENTS):
        written = base64.b64encode(bytes(before) + data)
        first, last = math.ceil(before * 4 / 3), (before + len(data)) * 4 // 3
        found.append(written[first:last])
    return found
