"""Makes statements once: making one takes longer than the database needs to answer it."""

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

# One for all, because one statement is made of another; the same thread may come back to it.
_lock = threading.RLock()


def made_once(make: Callable[_P, _R]) -> Callable[_P, _R]:
    """Keep what a function made for its arguments.

    `functools.cache` lets two threads that come first make it twice, and parts of the two do not fit together.
    """
    kept: dict[object, _R] = {}

    @wraps(make)
    def given(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        key = (args, frozenset(kwargs.items()))
        with _lock:
            if key not in kept:
                kept[key] = make(*args, **kwargs)
            return kept[key]

    return given
