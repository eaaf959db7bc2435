"""Choose the images to evaluate from the split of a run, and state what limits the result."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from core.card import Card, TrainingData
from core.data.datasets import DatasetName, LabelledImage
from core.data.leaks import PlacedImage, audit_splits
from core.data.splits import official_folds
from core.identifiers import fold_identifier, fold_text
from core.run_history import SPLIT_FILE
from core.statistics.cautions import Caution, leak_caution
from core.tables import UnreadableTableError, read_table

SplitPart = Literal["all", "train", "validation", "test", "out-of-fold"]

_FOLD = re.compile(r"(?:fold )?(\d+)")

_FITTED_HERE = (
    "the threshold and temperature were fitted to these predictions, so sensitivity, specificity, accuracy and "
    "calibration are slightly optimistic; AUC does not depend on them"
)
_LOCK_UNKNOWN = "the card does not record which predictions its threshold and temperature were fitted to"
_FOLDER = "a folder of images"  # the name in cards written by training.train
_EACH_IMAGE_A_PATIENT = "each image is treated as a separate patient, so intervals are too narrow"
_EACH_OF_THEM_A_PATIENT = "each of these is treated as a separate patient, so intervals may be too narrow"
_ONE_MALIGNANCY = (
    "all images are benign or all are malignant, so there is no AUC and only one of sensitivity and specificity"
)


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """One image to evaluate; `fold` is the fold that held it out, None if the checkpoint itself evaluates it."""

    image: LabelledImage
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The images to evaluate; `sides` has all images of the run's split with their side, `warnings` those not found."""

    images: tuple[ChosenImage, ...]
    sides: tuple[tuple[LabelledImage, str], ...] = ()
    warnings: tuple[Caution, ...] = ()


def choose_images(
    images: Sequence[LabelledImage],
    roots: Sequence[Path],
    part: SplitPart,
    run: Path | None,
    lists: Path | None = None,
) -> ImageChoice:
    """Choose the images of one part of a run's split, or of official folds given by their lists.

    Raises:
        ValueError: If there is no such split, or none of its images is below one of the `roots`.
    """
    if part == "all":
        return ImageChoice(tuple(ChosenImage(image) for image in images))
    if part == "out-of-fold" and lists is not None:
        folds = official_folds(images, lists)
        return ImageChoice(
            tuple(ChosenImage(image, n) for n, (_, held_out) in enumerate(folds, start=1) for image in held_out)
        )
    if run is None:
        raise ValueError(f"--split {part} needs the run of the checkpoint: pass its folder with --run")
    rows = _match_images(_read_split(run / SPLIT_FILE), images, roots)
    of_part = [(image, side) for image, side in rows if _belongs(side, part)]
    if not of_part:
        raise ValueError(f"{run / SPLIT_FILE} has no {part} images; use --split all to evaluate every image")
    chosen = tuple(ChosenImage(image, _fold(side)) for image, side in of_part if image is not None)
    if not chosen:
        raise ValueError(f"none of the {len(of_part)} {part} images of the run is in {', '.join(map(str, roots))}")
    missing = len(of_part) - len(chosen)
    caution = Caution("images missing", f"{missing} of {len(of_part)} {part} images of the run are not in this folder")
    sides = tuple((image, side) for image, side in rows if image is not None)
    return ImageChoice(chosen, sides, (caution,) if missing else ())


def relative_name(image: LabelledImage, *roots: Path) -> str:
    """Return the path of an image below the dataset's folder, in characters that any text file can store.

    Of several folders it is the one that has the image.
    """
    path = next((image.path.relative_to(root) for root in roots if image.path.is_relative_to(root)), image.path)
    return path.as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


def _read_split(path: Path) -> list[tuple[str, str]]:
    try:
        data = path.read_bytes()
        rows = read_table(data, str(path), ("file", "split_or_fold")) if data else []
    except OSError as error:
        raise ValueError(f"cannot read the run's split {path}: {error.strerror}") from error
    except UnreadableTableError as error:
        raise ValueError(f"{error}; training.train writes it so") from error
    return [(row["file"], fold_text(row["split_or_fold"])) for row in rows]


def _fold(side: str) -> int | None:
    match = _FOLD.fullmatch(side)
    return int(match[1]) if match else None


def _belongs(side: str, part: SplitPart) -> bool:
    return side == part if part != "out-of-fold" else _fold(side) is not None


def _match_images(
    rows: Sequence[tuple[str, str]], images: Sequence[LabelledImage], roots: Sequence[Path]
) -> list[tuple[LabelledImage | None, str]]:
    """Find images by their path below the folders or, if that has changed, by a file name that is unique.

    Raises:
        ValueError: If two names lead to one image, which would count twice or be on two sides.
    """
    by_path = {relative_name(image, *roots): image for image in images}
    by_name: defaultdict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        by_name[fold_text(image.path.name)].append(image)

    def find(file: str) -> LabelledImage | None:
        same_name = by_name[fold_text(PurePosixPath(file.replace("\\", "/")).name)]
        return by_path.get(file) or (same_name[0] if len(same_name) == 1 else None)

    matched = [(find(file), side) for file, side in rows]
    spelling: dict[Path, str] = {}
    for (file, _), (found, _) in zip(rows, matched, strict=True):
        if found is not None and (known := spelling.setdefault(found.path, file)) != file:
            raise ValueError(f"two names in the run's split lead to one file, {found.path.name}: {known} and {file}")
    return matched


def collect_cautions(
    choice: ImageChoice, dataset: DatasetName, part: SplitPart, cards: Callable[[int | None], Card]
) -> tuple[Caution, ...]:
    """Return the cautions that follow from the cards and the choice of images, the most serious first.

    `cards` returns the card of a fold's network; None means the checkpoint itself.
    """
    images = [one.image for one in choice.images]
    collected = [*_trained_on(choice.images, dataset, cards), *_leaks(choice, part), *choice.warnings]
    if part in ("validation", "out-of-fold"):
        collected.append(Caution("fitted here", _FITTED_HERE))
    if not cards(None).locked_on:
        collected.append(Caution("lock unknown", _LOCK_UNKNOWN))
    if caution := patients_caution(images):
        collected.append(caution)
    if len({image.malignancy for image in images}) < 2:
        collected.append(Caution("one malignancy", _ONE_MALIGNANCY))
    return tuple(collected)


def patients_caution(images: Sequence[LabelledImage], name: str = "") -> Caution | None:
    """Return that nobody wrote down the patients of images, so that each counts as one; None if all are known."""
    unknown = sum(not image.patient_known for image in images)
    if not unknown:
        return None
    if unknown == len(images):
        start = f"the patients of {name} are unknown: " if name else ""
        return Caution("patients unknown", f"{start}{_EACH_IMAGE_A_PATIENT}")
    of = f" of {name}" if name else ""
    text = f"the patients of {unknown} of {len(images)} images{of} are unknown: {_EACH_OF_THEM_A_PATIENT}"
    return Caution("patients unknown", text)


def is_same_dataset(named: str, dataset: str) -> bool:
    """Return whether a card's training data ("BreaKHis", or several separated by commas) includes this dataset."""
    return dataset.casefold() in {name.strip().casefold() for name in named.split(",")}


@lru_cache(maxsize=16)
def fold_patients(data: TrainingData) -> frozenset[str]:
    """Return the training patients in the form in which identifiers are compared."""
    return frozenset(map(fold_identifier, data.patient_ids))


def may_share_patients(data: TrainingData, dataset: DatasetName, labels_of: str) -> bool:
    """Return whether a patient_id of these images may be the same person as one in the training data."""
    return is_same_dataset(data.dataset, labels_of) or (dataset == "folder" and is_same_dataset(data.dataset, _FOLDER))


def _leaks(choice: ImageChoice, part: SplitPart) -> list[Caution]:
    """Return cautions about patients and slides on the evaluated side and another one.

    Pictures are compared by training.audit only.
    """
    if part not in ("validation", "test"):
        return []  # folds may share patients on their held-out sides; the cards state what each network was trained on
    collected = []
    for leak in audit_splits([PlacedImage(image, "the run's split", side) for image, side in choice.sides]).leaks:
        sides = sorted({member.side for member in leak.members})
        if part in sides:
            collected.append(leak_caution(leak.kind, " and in ".join(sides), leak.key))
    return collected


def _trained_on(
    chosen: Sequence[ChosenImage], dataset: DatasetName, cards: Callable[[int | None], Card]
) -> list[Caution]:
    """Count the patients that the evaluated network was trained on.

    A patient_id is valid only within its own dataset: patient 7 of another laboratory is someone else. For a folder of
    images it is not known whether equal numbers mean the same people.
    """
    judged = sorted({(one.fold or 0, one.image.dataset, one.image.patient_id) for one in chosen})
    shared = set()
    for fold, name, patient in judged:
        data = cards(fold or None).training_data
        if may_share_patients(data, dataset, name) and fold_identifier(patient) in fold_patients(data):
            shared.add((name, patient))
    patients = {(name, patient) for _, name, patient in judged}
    if not shared:
        return []
    count = f"{len(shared)} of {len(patients)} patients"
    text = f"the network was trained on {count}, so these figures are too optimistic"
    if dataset == "folder":
        text = (
            f"the numbers of {count} also occur in the network's training set; if they are the same people, these "
            "figures are too optimistic"
        )
    return [Caution("trained on", text)]
