"""Reads what is to be audited: a dataset's folder, the official lists of folds, or the split that a run wrote down."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.datasets import DatasetName, load_dataset
from core.fit.run_history import SPLIT_FILE
from core.leaks import Placed
from core.sources.fold_lists import is_fold_list, read_fold_lists
from core.sources.labelled_image import LabelledImage, breakhis_image, label_set_with

_SIDES = {
    word: side
    for side, words in (
        ("train", ("train", "training")),
        ("validation", ("validation", "valid", "val")),
        ("test", ("test", "testing")),
    )
    for word in words
}


def read_placed(source: Path, dataset: DatasetName, images: Path | None) -> list[Placed]:
    """Give every image once for each split it is in.

    Args:
        source: A dataset's folder (sub-folders named train, validation or test are the sides of a split), official
            lists, a run folder, or the split file in it.
        dataset: What the images are; lists are of BreaKHis.
        images: Folder of the pictures that lists name; None compares names alone.

    Raises:
        FileNotFoundError: If there is nothing to read.
        ValueError: If a name or a line cannot be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"there is no {source}")
    run_split = source / SPLIT_FILE if source.is_dir() else source
    if run_split.is_file() and _has_sides(run_split):
        placed = _of_run(run_split)
    elif is_fold_list(source):
        placed = _of_lists(source)
    elif source.is_dir():
        return [_by_folder(image, source) for image in load_dataset(dataset, source)]
    else:
        raise ValueError(f"{source} is neither a list of folds nor the {SPLIT_FILE} of a run")
    return placed if images is None else _with_pictures(placed, images)


def _has_sides(table: Path) -> bool:
    if table.suffix != ".csv":
        return False
    with table.open(newline="", encoding="utf-8-sig") as lines:
        return "split_or_fold" in next(csv.reader(lines), [])


def _of_lists(source: Path) -> list[Placed]:
    lines = read_fold_lists(source)
    read = {file: breakhis_image(Path(file)) for file in {line.file for line in lines}}
    if strange := sorted(file for file, image in read.items() if image is None):
        raise ValueError(f"{source} names {len(strange)} files that are not named as in BreaKHis, such as {strange[0]}")
    known = {file: image for file, image in read.items() if image is not None}
    return [Placed(known[line.file], f"fold {line.fold}", line.side) for line in lines]


def _of_run(table: Path) -> list[Placed]:
    with table.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if len({row["file"] for row in rows}) < len(rows):
        raise ValueError(
            f"{table} has images in several folds, as the official ones do: audit the lists of these folds"
        )
    dataset = label_set_with({row["label"] for row in rows}).name
    return [
        Placed(
            breakhis_image(Path(row["file"]))
            or LabelledImage(Path(row["file"]), row["label"], row["patient_id"], "", dataset),
            table.parent.name,
            row["split_or_fold"],
        )
        for row in rows
    ]


def _by_folder(image: LabelledImage, root: Path) -> Placed:
    parts = image.path.relative_to(root).parts[:-1]
    for depth, part in enumerate(parts):
        if side := _SIDES.get(part.lower()):
            return Placed(image, "/".join(parts[:depth]) or "folders", side)
    return Placed(image)


def _with_pictures(placed: Sequence[Placed], images: Path) -> list[Placed]:
    """Point at the files below a folder that have the names; the others stay names."""
    below = {path.name: path for path in images.rglob("*.*")}
    return [
        replace(one, image=replace(one.image, path=below.get(one.image.path.name, one.image.path))) for one in placed
    ]
