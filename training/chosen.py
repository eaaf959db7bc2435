"""Chooses which images of a dataset are judged, and by which fold's network, from the split that a run wrote down."""

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.cautions import Caution
from core.datasets import LabelledImage
from core.fit.run_history import SPLIT_FILE
from core.splits import official_folds

Part = Literal["all", "train", "validation", "test", "out-of-fold"]

_FOLD = re.compile(r"(?:fold )?(\d+)")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One image to judge; `fold` is the number of the fold that held it out, None when the checkpoint itself judges."""

    image: LabelledImage
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The images to judge; `sides` are all images of the run's split with their side, `warnings` what was not found."""

    images: tuple[Chosen, ...]
    sides: tuple[tuple[LabelledImage, str], ...] = ()
    warnings: tuple[Caution, ...] = ()


def choose_images(
    images: Sequence[LabelledImage], root: Path, part: Part, run: Path | None, lists: Path | None = None
) -> Choice:
    """Take one part of a run's split; official folds may be given by their lists instead.

    Raises:
        ValueError: If there is no such split, or none of its images is here.
    """
    if part == "all":
        return Choice(tuple(Chosen(image) for image in images))
    if part == "out-of-fold" and lists is not None:
        folds = official_folds(images, lists)
        return Choice(tuple(Chosen(image, n) for n, (_, held_out) in enumerate(folds, start=1) for image in held_out))
    if run is None:
        raise ValueError(f"--split {part} needs the run that made the checkpoint: name its folder with --run")
    rows = _found(_read_split(run / SPLIT_FILE), images, root)
    wanted = [(image, side) for image, side in rows if _belongs(side, part)]
    if not wanted:
        raise ValueError(f"{run / SPLIT_FILE} has no {part} images; --split all judges every image")
    chosen = tuple(Chosen(image, _fold(side)) for image, side in wanted if image is not None)
    if not chosen:
        raise ValueError(f"none of the {len(wanted)} {part} images of the run is in {root}")
    missing = len(wanted) - len(chosen)
    lacking = Caution("images missing", f"{missing} of {len(wanted)} {part} images of the run are not in this folder")
    sides = tuple((image, side) for image, side in rows if image is not None)
    return Choice(chosen, sides, (lacking,) if missing else ())


def relative_name(image: LabelledImage, root: Path) -> str:
    """Name an image by its place below the dataset's folder, in characters that every file can hold."""
    path = image.path.relative_to(root) if image.path.is_relative_to(root) else image.path
    return path.as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


def _read_split(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(row["file"], row["split_or_fold"]) for row in csv.DictReader(file)]
    except OSError as error:
        raise ValueError(f"cannot read the run's split {path}: {error.strerror}") from error
    except KeyError as error:
        raise ValueError(f"{path} has no column {error}: it was not written by training.train") from error


def _fold(side: str) -> int | None:
    match = _FOLD.fullmatch(side)
    return int(match[1]) if match else None


def _belongs(side: str, part: Part) -> bool:
    return side == part if part != "out-of-fold" else _fold(side) is not None


def _found(
    rows: Sequence[tuple[str, str]], images: Sequence[LabelledImage], root: Path
) -> list[tuple[LabelledImage | None, str]]:
    """Find images by their place below the folder or, where that moved, by a name that only one has."""
    places = {relative_name(image, root): image for image in images}
    names: defaultdict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        names[image.path.name].append(image)

    def find(file: str) -> LabelledImage | None:
        alike = names[Path(file).name]
        return places.get(file) or (alike[0] if len(alike) == 1 else None)

    return [(find(file), side) for file, side in rows]
