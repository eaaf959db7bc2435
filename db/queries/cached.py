"""Build SQL statements once: building one takes longer than running it."""

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

# One lock for all, because statements are built from one another; reentrant for the same reason.
_lock = threading.RLock()


def cache_statement(make: Callable[_P, _R]) -> Callable[_P, _R]:
    """Cache the result of a function for each set of arguments.

    `functools.cache` lets two threads build the first result twice, and parts of the two do not fit together.
    """
    results: dict[object, _R] = {}

    @wraps(make)
    def cached(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        key = (args, frozenset(kwargs.items()))
        with _lock:
            if key not in results:
                results[key] = make(*args, **kwargs)
            return results[key]

    return cached
