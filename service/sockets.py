"""Which addresses this process really listens on: settings and headers can say anything."""

import ipaddress
import threading
import time
from urllib.parse import urlsplit

import psutil

# Reading the sockets takes several milliseconds, a page makes dozens of requests.
_SOCKETS_KNOWN_SECONDS = 2.0


class ListeningSockets:
    """The addresses on which this process listens, looked up again after a moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_up: dict[int, tuple[float, bool]] = {}

    def only_loopback(self, port: int | None) -> bool:
        """Say whether a port of this process can be reached from this computer only; in doubt, no."""
        if port is None:
            return False
        with self._lock:
            when, answer = self._looked_up.get(port, (-_SOCKETS_KNOWN_SECONDS, False))
            if time.monotonic() - when >= _SOCKETS_KNOWN_SECONDS:
                answer = _listens_only_on_loopback(port)
                self._looked_up[port] = (time.monotonic(), answer)
            return answer


def _listens_only_on_loopback(port: int) -> bool:
    try:
        found = psutil.Process().net_connections(kind="inet")
    except (psutil.Error, OSError):
        return False
    addresses = [c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    return bool(addresses) and all(_is_loopback(address) for address in addresses)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def names_this_computer(url: str) -> bool:
    """Say whether an address names this computer to itself, and nothing else."""
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
    except ValueError:
        return False
    return "@" not in parts.netloc and (name == "localhost" or _is_loopback(name))
