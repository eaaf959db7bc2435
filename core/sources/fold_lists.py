"""Reads the published lists of BreaKHis folds: which file is in training or test of which fold."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

_SIDES: tuple[Literal["train", "test"], ...] = ("train", "test")
_LIST_NAME = re.compile(r"dsfold\d+\.txt")


@dataclass(frozen=True, slots=True)
class FoldLine:
    """One line of a list: a file's name and its side in one fold."""

    file: str
    fold: int
    side: Literal["train", "test"]


def is_fold_list(path: Path) -> bool:
    """Say whether a path is such lists: a folder with `dsfold1.txt` in it, one such file, or a table of folds."""
    if path.is_dir():
        return any(_LIST_NAME.fullmatch(file.name) for file in path.iterdir())
    return path.suffix == ".txt" or (path.suffix == ".csv" and "fold" in _columns(path))


def read_fold_lists(path: Path) -> list[FoldLine]:
    """Read Spanhol's lists, or a table made of them.

    A folder of `dsfoldN.txt` (or one of them) has lines `SOB_B_A-14-22549AB-40-001.png|40|1|train`: file,
    magnification, fold, side. A CSV has the columns filename, fold, and split or grp.

    Raises:
        FileNotFoundError: If there is no list.
        ValueError: If a line cannot be read, or puts one file on both sides of a fold.
    """
    files = sorted(file for file in path.iterdir() if _LIST_NAME.fullmatch(file.name)) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise FileNotFoundError(f"there is no dsfold1.txt or table of folds at {path}")
    lines = [line for file in files for line in (_table(file) if file.suffix == ".csv" else _list(file))]
    sides: dict[tuple[int, str], str] = {}
    for line in lines:
        if sides.setdefault((line.fold, line.file), line.side) != line.side:
            raise ValueError(f"{line.file} is in train and in test of fold {line.fold}")
    return lines


def _list(file: Path) -> Iterable[FoldLine]:
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        parts = [part.strip() for part in text.split("|")]
        if len(parts) == 4:
            yield _line(parts[0], parts[2], parts[3], f"{file.name}, line {number}")
        elif text.strip():
            raise ValueError(f"{file.name}, line {number}: expected file|magnification|fold|side, got {text!r}")


def _table(file: Path) -> Iterable[FoldLine]:
    columns = _columns(file)
    side = "split" if "split" in columns else "grp"
    if missing := {"filename", "fold", side} - set(columns):
        raise ValueError(f"{file.name} has no column {', '.join(sorted(missing))}")
    with file.open(newline="", encoding="utf-8-sig") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            yield _line(row["filename"] or "", row["fold"] or "", row[side] or "", f"{file.name}, line {number}")


def _line(name: str, fold: str, side: str, where: str) -> FoldLine:
    found = [known for known in _SIDES if known == side]
    if not name or not fold.isdigit() or not found:
        raise ValueError(f"{where}: expected a file, the number of a fold, and train or test, got {(name, fold, side)}")
    return FoldLine(PurePosixPath(name).name, int(fold), found[0])


def _columns(file: Path) -> list[str]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        return next(csv.reader(lines), [])
