"""Find the file that a table names, however the name was written."""

import os
from pathlib import Path
from urllib.parse import unquote


def find_as_written(root: Path, name: str) -> Path | None:
    """Return the file that a name means, without "." and ".."; None if there is none.

    It is looked for as it is written, then with the slashes of Windows, then below the folder with the codes of web
    addresses, such as %20 for a blank.
    """
    plain = name.strip().replace("\\", "/")
    for written in (name, name.strip(), plain):
        if path := _find(root, written):
            return path
    path = _find(root, unquote(plain)) if "%" in plain else None
    # Nobody may learn from an error whether a file outside exists.
    return path if path and path.is_relative_to(root) else None


def _find(root: Path, written: str) -> Path | None:
    path = Path(os.path.normpath(root / written))
    return path if written and "\0" not in written and path.is_file() else None
