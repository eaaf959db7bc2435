"""A small file server on this machine that breaks off, changes its file, or knows nothing of ranges, as told."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def _set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass
class Shelf:
    """What is served and how; tests change it between requests."""

    data: bytes
    tag: str = '"first"'
    changed: str = ""  # Last-Modified
    ranges: bool = True
    ignores_if_range: bool = False  # answers with the rest of a changed file, as it must not
    longest: int = 0  # bytes of one answer to a Range; 0 sends all that is left
    breaks_after: list[int] = field(default_factory=list)  # bytes of the body, for one request after the other
    stalls: threading.Event = field(default_factory=_set_event)  # until it is set, a connection that broke off is held
    status: int = 200
    asked: list[str] = field(default_factory=list)  # the Range of each request

    @property
    def validator(self) -> str:
        """What If-Range is compared with."""
        return self.tag if self.tag.startswith('"') else self.changed


class _Handler(BaseHTTPRequestHandler):
    shelf: Shelf

    def do_GET(self) -> None:
        shelf = self.shelf
        wanted = self.headers.get("Range", "")
        shelf.asked.append(wanted)
        start = self._start(wanted)
        if start > len(shelf.data) or shelf.status != 200:
            self.send_response(shelf.status if shelf.status != 200 else 416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        end = min(len(shelf.data), start + shelf.longest) if start and shelf.longest else len(shelf.data)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(shelf.data)}")
        self.send_header("Content-Length", str(end - start))
        for name, value in (("ETag", shelf.tag), ("Last-Modified", shelf.changed)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        body = shelf.data[start:end]
        if shelf.breaks_after:
            body = body[: shelf.breaks_after.pop(0)]
        self.wfile.write(body)
        self.wfile.flush()
        if len(body) < end - start:
            shelf.stalls.wait(60)
        self.close_connection = True

    def _start(self, wanted: str) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        same = self.headers.get("If-Range", "") == self.shelf.validator or self.shelf.ignores_if_range
        return int(match[1]) if match and same and self.shelf.ranges else 0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives
        """Say nothing on the test's output."""


@contextmanager
def serving(shelf: Shelf) -> Iterator[str]:
    """Serve one file until the block ends; gives its address."""
    handler = type("Handler", (_Handler,), {"shelf": shelf})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/releases/archive.zip"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
