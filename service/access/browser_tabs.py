"""Whose browser tab is whose: Streamlit lets whoever names a tab go on in it, and upload into it.

It outlives a restart of the server: a tab that is still open connects again by itself, with what was typed in
it, and the next reader at the same computer may have signed in meanwhile.
"""

import hashlib
import logging
import threading
from collections import OrderedDict
from pathlib import Path

_KEPT = 10_000  # tabs; the number of a forgotten one only costs what was typed in it
_log = logging.getLogger("second_read.tabs")


class Tabs:
    """Remembers which account opened which tab of this server: pages write it, the gate reads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, int] = OrderedDict()
        self._path: Path | None = None

    def keep_in(self, path: Path) -> None:
        """Remember what another server of this installation wrote into a file, and go on in it.

        The file holds no number of a tab, which would open it, but its hash.
        """
        with self._lock:
            lines = path.read_text("ascii", errors="replace").split("\n")[:-1] if path.exists() else []
            for line in lines[-_KEPT:]:
                tab, _, account_id = line.partition(" ")
                if account_id.isdecimal():
                    self._accounts.setdefault(tab, int(account_id))
            path.touch(0o600)
            path.write_text("".join(f"{line}\n" for line in lines[-_KEPT:]), "ascii", errors="replace")
            self._path = path

    def opened(self, tab: str, account_id: int) -> None:
        """Remember who opened a tab; it stays theirs."""
        key = _key(tab)
        with self._lock:
            if key not in self._accounts:
                self._accounts[key] = account_id
                self._write(f"{key} {account_id}\n")
            self._accounts.move_to_end(key)
            while len(self._accounts) > _KEPT:
                self._accounts.popitem(last=False)

    def is_of_another(self, tab: str, account_id: int) -> bool:
        """Say whether another account opened the tab; of an unknown tab, no."""
        with self._lock:
            return self._accounts.get(_key(tab), account_id) != account_id

    def belongs_to(self, tab: str, account_id: int) -> bool:
        """Say whether this account opened the tab; of an unknown tab, no."""
        with self._lock:
            return self._accounts.get(_key(tab)) == account_id

    def _write(self, line: str) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.write(line)
        except OSError as error:
            # The tab is known until the server stops; that is no reason to keep a reader from reading.
            _log.error("whose tab it is cannot be kept in %s: %s", self._path, error)


def _key(tab: str) -> str:
    return hashlib.sha256(tab.encode(errors="replace")).hexdigest()
