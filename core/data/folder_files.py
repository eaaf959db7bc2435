"""Find the pictures and the tables in a folder: pictures by their content, tables in whatever case and kind."""

import os
from collections.abc import Iterator
from pathlib import Path

from core.identifiers import fold_text
from core.image_files import is_hidden
from core.imaging.kinds import HEAD_BYTES, FileKind, recognise
from core.tables import SUFFIXES
from core.wording import join_first


def walk_files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, links among them; hidden files and folders are ignored."""
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not is_hidden(name)]
        for name in names:
            if not is_hidden(name):
                yield Path(folder, name)


def list_pictures(root: Path, suffix: str) -> tuple[list[Path], list[Path]]:
    """Return the files with a suffix, in capitals or not, and the other pictures, in the order of their names.

    Files with the suffix are not opened: there may be 277,524. The others are recognised by their content.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    own, others = [], []
    for path in sorted(walk_files(root), key=lambda path: (path.name, path.parent)):
        if path.suffix.lower() == suffix:
            own.append(path)
        elif (kind := recognise_file(path)) and kind.kind == "image":
            others.append(path)
    return own, others


def recognise_file(path: Path) -> FileKind | None:
    """Return what a file is by its content; None if that is unknown or the file cannot be read."""
    if not path.is_file():  # opening a pipe would wait for its writer
        return None
    try:
        with path.open("rb") as file:
            return recognise(file.read(HEAD_BYTES))
    except OSError:
        return None


def is_table(path: Path, name: str) -> bool:
    """Return whether a file is the table of this name, in whatever case and kind: labels.csv, Labels.xlsx."""
    return path.suffix.lower() in SUFFIXES and fold_text(path.stem) == name and path.is_file()


def find_tables(root: Path, name: str) -> list[Path]:
    """Return the tables of this name below a folder."""
    return sorted(path for path in walk_files(root) if is_table(path, name))


def find_table(folder: Path, name: str) -> Path | None:
    """Return the table of this name in a folder; None if there is none.

    Raises:
        ValueError: If there are several, and none is the CSV file of exactly this name.
    """
    tables = sorted(path for path in folder.iterdir() if is_table(path, name)) if folder.is_dir() else []
    usual = folder / f"{name}.csv"
    if len(tables) > 1 and usual not in tables:
        raise ValueError(f"{folder} has several tables of {name}, keep one: {join_first(path.name for path in tables)}")
    return usual if usual in tables else next(iter(tables), None)
