"""How much the hard tests do, and what they measure: the full counts, or a tenth and less."""

import os
from collections.abc import Sequence

FULL = os.environ.get("SECOND_READ_STRESS") == "full"
# Seconds after which a test counts as hanging; every day it is the limit of pyproject.toml.
FULL_TIMEOUT = 5400
# Where a whole server is played with: what differs between the databases lies in the store, which always has both.
DATABASES = ("sqlite", "postgresql") if FULL else ("sqlite",)


def amount(full: int, usual: int) -> int:
    """Return the full number when SECOND_READ_STRESS is `full`, else the small one of every day."""
    return full if FULL else usual


def milliseconds(what: str, seconds: Sequence[float]) -> str:
    """Write median, 95th percentile and maximum of some times in one line."""
    ordered = sorted(seconds)
    shown = {"median": 0.5, "p95": 0.95, "max": 1.0}
    found = [f"{word} {ordered[int(share * (len(ordered) - 1))] * 1e3:.0f} ms" for word, share in shown.items()]
    return f"{what}: n {len(ordered)}, {', '.join(found)}"
