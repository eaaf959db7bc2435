"""Which account each browser tab belongs to: Streamlit lets any client that sends a tab's id resume and upload to it.

The record outlives a restart of the server: a tab that is still open reconnects automatically, with everything typed
in it, and another reader may have signed in at the same computer in the meantime.
"""

import hashlib
import logging
import threading
from collections import OrderedDict
from pathlib import Path

_MOST_TABS = 10_000  # a tab that is forgotten loses only what was typed in it
_log = logging.getLogger("second_read.tabs")


class BrowserTabs:
    """Remembers which account opened which tab of this server; pages write to it and the gate reads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, int] = OrderedDict()
        self._path: Path | None = None

    def keep_in(self, path: Path) -> None:
        """Load the tabs that an earlier server of this installation wrote to a file, and append new ones to it.

        The file holds hashes, not tab ids: with an id, anyone could resume the tab.
        """
        with self._lock:
            lines = path.read_text("ascii", errors="replace").split("\n")[:-1] if path.exists() else []
            for line in lines[-_MOST_TABS:]:
                tab, _, account_id = line.partition(" ")
                if account_id.isdecimal():
                    self._accounts.setdefault(tab, int(account_id))
            path.touch(0o600)
            path.write_text("".join(f"{line}\n" for line in lines[-_MOST_TABS:]), "ascii", errors="replace")
            self._path = path

    def opened(self, tab: str, account_id: int) -> None:
        """Record the account that opened a tab; a tab never changes its owner."""
        key = _hash_id(tab)
        with self._lock:
            if key not in self._accounts:
                self._accounts[key] = account_id
                self._write(f"{key} {account_id}\n")
            self._accounts.move_to_end(key)
            while len(self._accounts) > _MOST_TABS:
                self._accounts.popitem(last=False)

    def is_of_another(self, tab: str, account_id: int) -> bool:
        """Return whether another account opened the tab; False for an unknown tab."""
        with self._lock:
            return self._accounts.get(_hash_id(tab), account_id) != account_id

    def owner_of(self, tab: str) -> int | None:
        """Return the account that opened the tab; None for an unknown tab."""
        with self._lock:
            return self._accounts.get(_hash_id(tab))

    def belongs_to(self, tab: str, account_id: int) -> bool:
        """Return whether this account opened the tab; False for an unknown tab."""
        return self.owner_of(tab) == account_id

    def _write(self, line: str) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.write(line)
        except OSError as error:
            # The tab stays known until the server stops, so readers can continue.
            _log.error("the owner of a browser tab could not be written to %s: %s", self._path, error)


def _hash_id(tab: str) -> str:
    return hashlib.sha256(tab.encode(errors="replace")).hexdigest()
