"""Which images a cohort has: all of a folder, or those that a table names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.files import file_key, readable_path
from core.identifiers import tidy_identifier
from core.image_files import find_images
from core.imaging.scale import Scale
from core.named_files import find_as_written, tidy_path
from core.tables import Row, has_columns, read_table

_NAMES = ("path", "file")  # what the column with the images may be called
_OPTIONAL = ("label", "um_per_px")


@dataclass(frozen=True, slots=True)
class CohortFile:
    """One image of a cohort, or a file that cannot be one and why; `name` is what the results call it."""

    name: str
    path: Path
    label: str | None = None
    scale: Scale | None = None  # as the table says; the file is asked only if it does not
    problem: str | None = None


def list_cohort(source: Path, tell_others: Callable[[Sequence[Path]], None] = lambda _: None) -> list[CohortFile]:
    """Return the images of a folder, or those in the column `path` or `file` of a table, in its order.

    `tell_others` is called with what the folder holds beside images.

    Raises:
        OSError: If the source cannot be read.
        ValueError: If there are none, or one is named twice; the message says what to change.
    """
    files = _in_folder(source, tell_others) if source.is_dir() else _in_table(source)
    if not files:
        raise ValueError(f"there are no images in {readable_path(source)}")
    _refuse_doubles(files)
    return files


def _in_folder(root: Path, tell_others: Callable[[Sequence[Path]], None]) -> list[CohortFile]:
    found = find_images(root)
    tell_others([path.relative_to(root) for path in found.others])
    return [CohortFile(str(file.relative), file.path, problem=file.problem) for file in found.files]


def _in_table(table: Path) -> list[CohortFile]:
    data = table.read_bytes()
    column = next((name for name in _NAMES if has_columns(data, table.name, [name])), _NAMES[0])
    return [_named_in(row, column, table.parent) for row in read_table(data, table.name, [column], _OPTIONAL)]


def _named_in(row: Row, column: str, folder: Path) -> CohortFile:
    name = str(tidy_path(row[column]))  # one name for one file: ./a.png is a.png
    found, label = find_as_written(folder, row[column]), tidy_identifier(row["label"]) or None
    path, problem = found or folder / name, None if found else "there is no such file."
    scale = None
    if text := row["um_per_px"].strip():
        try:
            scale = Scale(float(text.replace(",", ".")), "dataset")
        except ValueError as error:
            problem = problem or f"um_per_px of {row.place}: {error}"
    return CohortFile(name, path, label, scale, problem)


def _refuse_doubles(files: Sequence[CohortFile]) -> None:
    seen: set[str] = set()
    first: dict[tuple[int, int], str] = {}
    for file in files:
        if file.name in seen:
            raise ValueError(f"two images are called {file.name}; every image may be named only once")
        seen.add(file.name)
        if file.problem is None and (known := first.setdefault(file_key(file.path), file.name)) != file.name:
            raise ValueError(f"{known} and {file.name} are one file; every image may be named only once")
