"""Which account each file under Streamlit's `/media` was given to: Streamlit serves it to anyone who knows its address.

Pages put pictures and downloads there. The address is a hash of the content, so it is the same for everyone, and stays
in histories and logs.
"""

import threading
from collections import OrderedDict

from service.access.browser_tabs import BrowserTabs

MEDIA = "/media/"
_MOST_FILES = 100_000  # of a file that is forgotten, the page shows a gap until it is drawn again


class MediaOwners:
    """Remembers which accounts were given which files; pages write to it and the gate reads it."""

    def __init__(self, tabs: BrowserTabs) -> None:
        self._tabs = tabs
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, set[int]] = OrderedDict()

    def gave(self, address: str, tab: str) -> None:
        """Record that the page in a browser tab was given the address of a file."""
        account_id = self._tabs.owner_of(tab)
        if account_id is None:
            return
        file = _file_of(address)
        with self._lock:
            self._accounts.setdefault(file, set()).add(account_id)
            self._accounts.move_to_end(file)
            while len(self._accounts) > _MOST_FILES:
                self._accounts.popitem(last=False)

    def may_fetch(self, address: str, account_id: int) -> bool:
        """Return whether a page of this account was given the file; False for an unknown file."""
        with self._lock:
            return account_id in self._accounts.get(_file_of(address), ())


def _file_of(address: str) -> str:
    """Return the id of a file, as Streamlit finds it in an address: without the extension."""
    name = address.removeprefix(MEDIA)
    return name.rpartition(".")[0] or name
