"""Read the table of labels of a folder of images, and find the file that each of its rows names."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data.folder_files import find_table, walk_files
from core.files import file_key
from core.identifiers import describe_loss, fold_text, fold_word, tidy_identifier
from core.imaging.scale import Scale
from core.named_files import find_as_written, tidy_path
from core.tables import Row, read_table
from core.wording import join_first

LABELS = "labels"  # the name of the table, without the suffix
_COLUMNS = ("file", "label", "patient_id")
_SCALE = "um_per_px"
_COPIES_SHOWN = 5
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # an absolute path of Windows
_SAMPLE_BYTES = 1 << 14  # of files of one size, before they are read whole


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """One row of the table: a file that exists, and its label and patient as they are written."""

    path: Path
    label: str
    patient_id: str
    magnification: str
    name: str  # of the file, as it is written
    place: str  # such as "line 5"
    um_per_px: float | None = None

    @property
    def words(self) -> str:
        """The file and where the table names it."""
        return f"{self.name} ({self.place})"


def find_label_table(root: Path) -> Path:
    """Return the table of labels of a folder: labels.csv, in whatever case, or a workbook.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If there are several.
    """
    table = find_table(root, LABELS)
    if table is None:
        raise FileNotFoundError(
            f"there is no {root / LABELS}.csv; it must list the images in the columns file, label and patient_id"
        )
    return table


def read_labels(table: Path, *, outside: bool = False) -> list[LabelledFile]:
    """Return the files that a table names, with their labels, in the order of its rows.

    A name is found as it is written, with the slashes of Windows, with the codes of web addresses (%20), in another
    case, and composed or decomposed.

    Args:
        table: The table, in the folder that its names start from.
        outside: Whether it may name links and files outside this folder.

    Raises:
        FileNotFoundError: If there are no rows, or a file does not exist.
        ValueError: If the table cannot be read, a cell is empty, a file is named twice or outside the folder, or one
            picture has several labels; the message names the table and the lines.
    """
    rows = read_table(table.read_bytes(), str(table), _COLUMNS, ("magnification", _SCALE))
    if not rows:
        raise FileNotFoundError(f"there are no images in {table}")
    for row in rows:
        if missing := [column for column in _COLUMNS if not fold_text(row[column])]:
            raise ValueError(f"{table}, {row.place} has no {' and no '.join(missing)}; every image needs all three")
        if loss := describe_loss(row["patient_id"]):
            raise ValueError(f"{table}, {row.place}, column patient_id: {row['patient_id']!r} {loss}")
    files = _find_files(table, rows, outside=outside)
    _refuse_repeated(table, files)
    _refuse_contradictions(table, files)
    return files


def _find_files(table: Path, rows: Sequence[Row], *, outside: bool) -> list[LabelledFile]:
    root = table.parent.resolve()
    index: dict[str, list[Path]] = {}
    files, absent = [], []
    for row in rows:
        name = tidy_identifier(row["file"])
        path = find_as_written(root, row["file"])
        if path is None:
            index = index or _index_files(root)
            path = _find_folded(table, row, index)
        if not outside:
            _refuse_outside(table, root, path or root / name, f"{table}, {row.place}, column file: {name}")
        if path is None:
            absent.append(f"{name} ({row.place})")
            continue
        shown = table.parent / path.relative_to(root) if path.is_relative_to(root) else path
        label, magnification = tidy_identifier(row["label"]), tidy_identifier(row["magnification"])
        scale = _read_scale(row, table)
        files.append(LabelledFile(shown, label, row["patient_id"], magnification, name, row.place, scale))
    if absent:
        hint = "" if "".join(absent).isascii() else "; if letters look wrong, save the table as CSV (UTF-8)"
        raise FileNotFoundError(
            f"{len(absent)} of {len(rows)} images in {table} do not exist: {join_first(absent)}{hint}"
        )
    return files


def _read_scale(row: Row, table: Path) -> float | None:
    """Return the micrometres per pixel of a row, None if its cell is empty; the comma of some languages is read too."""
    text = tidy_identifier(row[_SCALE])
    if not text:
        return None
    try:
        return Scale(float(text.replace(",", ".")), "dataset").um_per_px
    except ValueError as error:
        raise ValueError(f"{table}, {row.place}, column {_SCALE}: {text!r} is not a scale in µm per pixel") from error


def _index_files(root: Path) -> dict[str, list[Path]]:
    index: dict[str, list[Path]] = defaultdict(list)
    for path in walk_files(root):
        index[fold_text(path.relative_to(root).as_posix())].append(path)
    return index


def _find_folded(table: Path, row: Row, index: dict[str, list[Path]]) -> Path | None:
    found = index.get(fold_text(str(tidy_path(row["file"]))), [])
    if len(found) > 1:
        raise ValueError(
            f"{table}, {row.place}, column file: {tidy_identifier(row['file'])} may be any of "
            f"{join_first(path.name for path in found)}; write the name as the file has it"
        )
    return found[0] if found else None


def _refuse_outside(table: Path, root: Path, path: Path, where: str) -> None:
    """Refuse a name that leads out of the folder: a table from someone else could otherwise have any file read."""
    lexical = Path(os.path.normpath(path))
    if not lexical.is_relative_to(root) or _DRIVE.match(str(path.relative_to(root))):
        raise ValueError(
            f"{where} is outside the folder; write names that start from the folder of {table.name}, or pass --outside"
        )
    if Path(os.path.realpath(lexical)) != lexical:
        raise ValueError(f"{where} is a link; name the file that it leads to, or pass --outside")


def _refuse_repeated(table: Path, files: Sequence[LabelledFile]) -> None:
    """Refuse files that are named twice, under whatever names: a.png, ./a.png, a link, another case."""
    first: dict[tuple[int, int], LabelledFile] = {}
    repeated = []
    for file in files:
        known = first.setdefault(file_key(file.path), file)
        if known is not file:
            repeated.append(f"{known.words} and {file.words}")
    if repeated:
        raise ValueError(f"{table} lists files more than once: {join_first(repeated)}")


def _refuse_contradictions(table: Path, files: Sequence[LabelledFile]) -> None:
    """Refuse copies of one file with different labels: one of them must be wrong."""
    for copies in _find_copies(files):
        if len({fold_word(file.label) for file in copies}) > 1:
            named = ", ".join(f"{file.words} as {file.label}" for file in copies[:_COPIES_SHOWN])
            raise ValueError(f"{table} gives one picture several labels: {named}")


def _find_copies(files: Iterable[LabelledFile]) -> list[list[LabelledFile]]:
    """Return the files that are equal byte for byte; a file is read to its end only if it is likely to be a copy."""
    groups = [[file for file in files if file.path.stat().st_size]]  # an empty file is no picture
    for key in (_size, _sample, _digest):
        groups = [part for group in groups for part in _part_by(group, key) if len(part) > 1]
    return groups


def _part_by(files: Iterable[LabelledFile], key: Callable[[Path], object]) -> list[list[LabelledFile]]:
    parts: dict[object, list[LabelledFile]] = defaultdict(list)
    for file in files:
        parts[key(file.path)].append(file)
    return list(parts.values())


def _size(path: Path) -> int:
    return path.stat().st_size


def _sample(path: Path) -> bytes:
    """Return the middle of a file: uncompressed pictures of one camera have the same size and the same beginning."""
    with path.open("rb") as file:
        file.seek(max(0, (path.stat().st_size - _SAMPLE_BYTES) // 2))
        return file.read(_SAMPLE_BYTES)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
