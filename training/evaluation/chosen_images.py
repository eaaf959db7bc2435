"""Choose the images to evaluate from the split of a run, and state what limits the result."""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.card import Card, TrainingData
from core.data.datasets import DatasetName, LabelledImage
from core.data.leaks import Placed, audit
from core.data.splits import official_folds
from core.fitting.history import SPLIT_FILE
from core.labels import BACH
from core.statistics.cautions import Caution, leak_caution

Part = Literal["all", "train", "validation", "test", "out-of-fold"]

_FOLD = re.compile(r"(?:fold )?(\d+)")

_FITTED_HERE = (
    "threshold and temperature were fitted to these predictions: sensitivity, specificity, accuracy and calibration "
    "flatter a little; AUC does not depend on them"
)
_LOCK_UNKNOWN = "the card does not say which predictions its threshold and temperature were fitted to"
_FOLDER = "a folder of images"  # as cards of training.train name it
ALONE = "every image counts as a patient of its own: intervals come out too narrow"
_ONE_SIDE = "all images are of one malignancy: there is no AUC, and only one of sensitivity and specificity"


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


def cautions(
    choice: Choice, dataset: DatasetName, part: Part, cards: Callable[[int | None], Card]
) -> tuple[Caution, ...]:
    """Give every caution that the cards and the choice of images call for, the gravest first.

    `cards` gives the card of each fold's network; None is the checkpoint itself.
    """
    images = [one.image for one in choice.images]
    found = [*_trained_on(choice.images, dataset, cards), *_leaks(choice, part), *choice.warnings]
    if part in ("validation", "out-of-fold"):
        found.append(Caution("fitted here", _FITTED_HERE))
    if not cards(None).locked_on:
        found.append(Caution("lock unknown", _LOCK_UNKNOWN))
    if patients_unknown(images):
        found.append(Caution("patients unknown", ALONE))
    if len({image.malignancy for image in images}) < 2:
        found.append(Caution("one malignancy", _ONE_SIDE))
    return tuple(found)


def patients_unknown(images: Sequence[LabelledImage]) -> bool:
    """Say whether these are images of BACH whose patients nobody wrote down, so that each counts as one."""
    alone = len({image.patient_id for image in images}) == len({image.path for image in images})
    return alone and {image.dataset for image in images} == {BACH.name}


def same_dataset(named: str, dataset: str) -> bool:
    """Say whether a card's training data ("BreaKHis", or several with commas) holds this dataset."""
    return dataset.casefold() in {name.strip().casefold() for name in named.split(",")}


def may_share_patients(data: TrainingData, dataset: DatasetName, labels_of: str) -> bool:
    """Say whether a patient_id of images, loaded as a dataset with its labels, may be one of the training data."""
    return same_dataset(data.dataset, labels_of) or (dataset == "folder" and same_dataset(data.dataset, _FOLDER))


def _leaks(choice: Choice, part: Part) -> list[Caution]:
    """Name what is on the judged side of a split and on another one; pictures are compared by training.audit."""
    if part not in ("validation", "test"):
        return []  # folds may share patients on their held-out sides; what each network saw is in its card
    found = []
    for leak in audit([Placed(image, "the run's split", side) for image, side in choice.sides]).leaks:
        sides = sorted({member.side for member in leak.members})
        if part in sides:
            found.append(leak_caution(leak.kind, " and in ".join(sides), leak.key))
    return found


def _trained_on(chosen: Sequence[Chosen], dataset: DatasetName, cards: Callable[[int | None], Card]) -> list[Caution]:
    """Count the patients that the judging network was trained on.

    A patient_id means something within its own dataset only: patient 7 of another laboratory is someone else. Of a
    folder of images it is not known whose patients they are.
    """
    judged = sorted({(one.fold or 0, one.image.dataset, one.image.patient_id) for one in chosen})
    seen = set()
    for fold, name, patient in judged:
        data = cards(fold or None).training_data
        if may_share_patients(data, dataset, name) and patient in data.patient_ids:
            seen.add((name, patient))
    patients = {(name, patient) for _, name, patient in judged}
    if not seen:
        return []
    if dataset == "folder":
        words = "bear a number that was trained on: if they are the same people, these figures flatter"
    else:
        words = "were trained on: these figures flatter"
    return [Caution("trained on", f"{len(seen)} of {len(patients)} patients {words}")]
