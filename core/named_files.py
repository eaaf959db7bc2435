"""Find the file that a table names, however the name was written."""

import os
from pathlib import Path
from urllib.parse import unquote


def find_as_written(root: Path, name: str) -> Path | None:
    """Return the file that a name means, without "." and ".."; None if there is none.

    It is looked for as it is written, then with the slashes of Windows, then below the folder with the codes of web
    addresses, such as %20 for a blank.
    """
    plain = with_slashes(name)
    for written in (name, name.strip(), plain):
        if path := _find(root, written):
            return path
    path = _find(root, unquote(plain)) if "%" in plain else None
    # Nobody may learn from an error whether a file outside exists.
    return path if path and path.is_relative_to(os.path.normpath(root)) else None


def tidy_path(name: str) -> Path:
    """Return a path as it was meant: without blanks around it, the slashes of Windows, "." and ".."."""
    return Path(os.path.normpath(with_slashes(name)))


def with_slashes(name: str) -> str:
    """Return a name without blanks around it and with slashes for those of Windows."""
    return name.strip().replace("\\", "/")


def _find(root: Path, written: str) -> Path | None:
    path = Path(os.path.normpath(root / written))
    return path if written and "\0" not in written and path.is_file() else None
