"""A full disk, on which stored files find no room until there is some again."""

import threading
from errno import ENOSPC
from pathlib import Path

import pytest

from db import files


class FullDisk:
    """From now on no file is stored, as on a full disk, until `make_room`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._has_room, self._write = threading.Event(), files._write_whole
        monkeypatch.setattr(files, "_write_whole", self._write_if_there_is_room)

    def make_room(self) -> None:
        """Let files be stored again."""
        self._has_room.set()

    def _write_if_there_is_room(self, path: Path, data: bytes) -> None:
        if not self._has_room.is_set():
            raise OSError(ENOSPC, "No space left on device")
        self._write(path, data)
