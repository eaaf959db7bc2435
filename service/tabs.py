"""Whose browser tab is whose: Streamlit lets whoever names a tab go on in it, and upload into it."""

import threading
from collections import OrderedDict
from typing import ClassVar

_KEPT = 10_000  # tabs; the number of a forgotten one only costs what was typed in it


class Tabs:
    """Remembers which account opened which tab of this server process."""

    known: ClassVar["Tabs"]  # of this process: pages write it, the gate reads it

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, int] = OrderedDict()

    def opened(self, tab: str, account_id: int) -> None:
        """Remember who opened a tab; it stays theirs."""
        with self._lock:
            self._accounts.setdefault(tab, account_id)
            self._accounts.move_to_end(tab)
            while len(self._accounts) > _KEPT:
                self._accounts.popitem(last=False)

    def is_of_another(self, tab: str, account_id: int) -> bool:
        """Say whether another account opened the tab; of an unknown tab, no."""
        with self._lock:
            return self._accounts.get(tab, account_id) != account_id

    def belongs_to(self, tab: str, account_id: int) -> bool:
        """Say whether this account opened the tab; of an unknown tab, no."""
        with self._lock:
            return self._accounts.get(tab) == account_id


Tabs.known = Tabs()
