"""How much one program may send and ask at once, so that it cannot crowd out the readers."""

import math
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import HTTPException

from service.access.sessions import Throttle

_SOON_SECONDS = 2  # after which a place among the parallel requests is likely to be free


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What is let in: `requests` of one token within `window_seconds`, and uploads at once of one token and of all.

    An upload has at most `files` files and `body_bytes`, arrives within `receive_seconds` and is answered within
    `answer_seconds`.
    """

    requests: int = 120
    window_seconds: float = 60.0
    uploads_of_token: int = 4
    uploads: int = 8
    files: int = 200
    body_bytes: int = 500_000_000
    receive_seconds: float = 300.0
    answer_seconds: float = 900.0


class Admission:
    """Counts the requests of every token, and the uploads that are being answered now."""

    def __init__(self, limits: RequestLimits) -> None:
        self.limits = limits
        self._rate = Throttle(limits.requests, limits.window_seconds)
        self._lock = threading.Lock()
        self._uploads: Counter[int] = Counter()

    def count_request(self, token_id: int) -> None:
        """Count one request of a token.

        Raises:
            HTTPException: If there were too many; it says when to try again.
        """
        wait = self._rate.attempt(str(token_id))
        if wait:
            limits = self.limits
            words = f"this token is limited to {limits.requests} requests per {limits.window_seconds:g} s"
            raise _try_again(HTTPStatus.TOO_MANY_REQUESTS, words, math.ceil(wait))

    @contextmanager
    def upload(self, token_id: int) -> Iterator[None]:
        """Hold a place for one upload until it is answered.

        Raises:
            HTTPException: If all places of this token or of the server are taken; it says when to try again.
        """
        with self._lock:
            if self._uploads[token_id] >= self.limits.uploads_of_token:
                words = f"this token has {self.limits.uploads_of_token} uploads in progress, which is its limit"
                raise _try_again(HTTPStatus.TOO_MANY_REQUESTS, words, _SOON_SECONDS)
            if self._uploads.total() >= self.limits.uploads:
                words = "the server is busy with the uploads of other programs"
                raise _try_again(HTTPStatus.SERVICE_UNAVAILABLE, words, _SOON_SECONDS)
            self._uploads[token_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._uploads[token_id] -= 1


def _try_again(status: HTTPStatus, words: str, seconds: int) -> HTTPException:
    return HTTPException(status, f"{words}; try again in {seconds} s", {"Retry-After": str(seconds)})
