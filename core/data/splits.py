"""Split labelled images by patient, or by the official BreaKHis folds."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from core.data.datasets import LabelledImage, unify_patients
from core.fitting.config import Protocol
from core.identifiers import fold_identifier
from core.tables import SUFFIXES, decode_text, has_columns, read_table

_SIDES: tuple[Literal["train", "test"], ...] = ("train", "test")
_LIST_NAME = re.compile(r"dsfold\d+\.txt")

Fold = tuple[list[LabelledImage], list[LabelledImage]]  # train, validation
_Sides = tuple[NDArray[np.int64], NDArray[np.int64]]  # positions of the training images, and of those held out


@dataclass(frozen=True, slots=True)
class FoldLine:
    """One line of a fold list: a file name and its side in one fold."""

    file: str
    fold: int
    side: Literal["train", "test"]


def is_fold_list(path: Path) -> bool:
    """Return whether a path is fold lists: a folder with `dsfoldN.txt` files, one such file, or a CSV of folds."""
    if path.is_dir():
        return any(_LIST_NAME.fullmatch(file.name) for file in path.iterdir())
    return path.suffix == ".txt" or (_is_table(path) and has_columns(path.read_bytes(), path.name, ("fold",)))


def read_fold_lists(path: Path) -> list[FoldLine]:
    """Read Spanhol's fold lists, or a CSV made from them.

    A folder of `dsfoldN.txt` (or one of them) has lines `SOB_B_A-14-22549AB-40-001.png|40|1|train`: file,
    magnification, fold, side. A CSV has the columns filename, fold, and split or grp.

    Raises:
        FileNotFoundError: If there is no list.
        ValueError: If a line cannot be read, or a file is on both sides of a fold.
    """
    files = sorted(file for file in path.iterdir() if _LIST_NAME.fullmatch(file.name)) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise FileNotFoundError(f"there is no dsfold1.txt or CSV of folds at {path}")
    lines = [line for file in files for line in (_read_fold_table(file) if _is_table(file) else _read_list(file))]
    sides: dict[tuple[int, str], str] = {}
    for line in lines:
        if sides.setdefault((line.fold, line.file), line.side) != line.side:
            raise ValueError(f"{line.file} is in train and in test of fold {line.fold}")
    return lines


def _read_list(file: Path) -> Iterable[FoldLine]:
    for number, text in enumerate(decode_text(file.read_bytes(), file.name).splitlines(), start=1):
        parts = [part.strip() for part in text.split("|")]
        if len(parts) == 4:
            yield _parse_line(parts[0], parts[2], parts[3], f"{file.name}, line {number}")
        elif text.strip():
            raise ValueError(f"{file.name}, line {number}: expected file|magnification|fold|side, got {text!r}")


def _read_fold_table(file: Path) -> Iterable[FoldLine]:
    data = file.read_bytes()
    side = "split" if has_columns(data, file.name, ("split",)) else "grp"
    for row in read_table(data, file.name, ("filename", "fold", side)):
        yield _parse_line(row["filename"].strip(), row["fold"].strip(), row[side].strip(), f"{file.name}, {row.place}")


def _parse_line(name: str, fold: str, side: str, where: str) -> FoldLine:
    sides = [known for known in _SIDES if known == side]
    if not name or not fold.isdigit() or not sides:
        raise ValueError(f"{where}: expected a file name, a fold number, and train or test, got {(name, fold, side)}")
    return FoldLine(PurePosixPath(name.replace("\\", "/")).name, int(fold), sides[0])


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.suffix.lower() != ".txt"


@dataclass(frozen=True, slots=True)
class Split:
    """Images for training, validation and the reported test; no patient is in two of them."""

    train: tuple[LabelledImage, ...]
    validation: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]

    def __post_init__(self) -> None:
        sides = (("train", self.train), ("validation", self.validation), ("test", self.test))
        for name, images in sides:
            if len({image.malignancy for image in images}) < 2:
                raise ValueError(f"{name} has no benign or no malignant images; try another seed or larger shares")
        for position, (name, images) in enumerate(sides):
            for other_name, others in sides[position + 1 :]:
                _refuse_shared(images, others, f"in {name} and in {other_name}")


def stratified_split(images: Sequence[LabelledImage], protocol: Protocol) -> Split:
    """Hold out test and then validation patients, each with its share of every class.

    Each of two stages uses one part of a StratifiedGroupKFold: preferably one that leaves every class in training, then
    the one closest to the requested share of images and to the overall share of malignant images. Patients with many
    images leave a seed little freedom, and a subtype with few patients is missing from some side.

    Raises:
        ValueError: If there are fewer than three benign or three malignant patients.
    """
    rest, test = _hold_out_stratified(unify_patients(images), protocol.test, protocol.seed, sides=3)
    train, validation = _hold_out_stratified(rest, protocol.validation / (1 - protocol.test), protocol.seed, sides=2)
    return Split(tuple(train), tuple(validation), tuple(test))


def _hold_out_stratified(images: Sequence[LabelledImage], share: float, seed: int, sides: int) -> Fold:
    fewest = min(len({i.patient_id for i in images if i.malignancy == kind}) for kind in ("benign", "malignant"))
    if fewest < sides:
        raise ValueError(f"a split needs three benign and three malignant patients; one kind has {fewest} left")
    # Each part should contain a patient of the rarer malignancy, so there are at most as many parts as such patients.
    parts = max(2, min(round(1 / share), fewest))
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    labels, patients = np.array([i.label for i in images]), np.array([i.patient_id for i in images])
    malignant = np.array([i.malignancy == "malignant" for i in images])
    # If no subtype has an image for every part, only benign and malignant can be stratified.
    strata = labels if max(Counter(labels).values()) >= parts else malignant
    with warnings.catch_warnings():
        # A subtype with fewer images than parts cannot be in all of them; the choice below accounts for that.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        stages = list(splitter.split(strata, strata, patients))

    def shortcoming(sides: _Sides) -> tuple[int, int, float]:
        kinds = sum(len(set(malignant[side])) for side in sides)
        off_size = abs(len(sides[1]) / len(images) - share)
        off_balance = abs(float(malignant[sides[1]].mean() - malignant.mean()))
        return -kinds, -len(set(labels[sides[0]])), off_size + off_balance

    train, held_out = min(stages, key=shortcoming)
    return [images[i] for i in train], [images[i] for i in held_out]


def shuffle_split(images: Sequence[LabelledImage], protocol: Protocol) -> Split:
    """Hold out a share of the patients at random for test, and then for validation, regardless of their classes.

    Two stages of GroupShuffleSplit, as in the hybrid's publication: the 70 patients of BreaKHis become 48, 11 and 11.

    Raises:
        ValueError: If a side has no benign or no malignant images.
    """
    rest, test = _hold_out_at_random(unify_patients(images), protocol.test, protocol.seed)
    train, validation = _hold_out_at_random(rest, protocol.validation / (1 - protocol.test), protocol.seed)
    return Split(tuple(train), tuple(validation), tuple(test))


def _hold_out_at_random(images: Sequence[LabelledImage], share: float, seed: int) -> Fold:
    patients = np.array([image.patient_id for image in images])
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    train, held_out = next(splitter.split(patients, groups=patients))
    return [images[i] for i in train], [images[i] for i in held_out]


def patient_folds(images: Sequence[LabelledImage], folds: int, seed: int) -> list[Fold]:
    """Split the patients into folds, each with its share of benign and malignant images.

    With few patients there are few such splits, so seeds hardly differ; `dealt_folds` do.

    Raises:
        ValueError: If there are too few patients for every fold to contain both benign and malignant.
    """
    images = unify_patients(images)
    _patients_of_each(images, folds)
    malignant = np.array([image.malignancy == "malignant" for image in images])
    patients = np.array([image.patient_id for image in images])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = [
        ([images[i] for i in train], [images[i] for i in validation])
        for train, validation in splitter.split(malignant, malignant, patients)
    ]
    return _check_folds(parts, seed)


def dealt_folds(images: Sequence[LabelledImage], folds: int, seed: int) -> list[Fold]:
    """Deal the patients to folds in random order, however many images each has.

    Those with a malignant image are dealt apart from the others, so that every fold has its share of both.

    Raises:
        ValueError: If there are too few patients for every fold to contain both benign and malignant.
    """
    images, order = unify_patients(images), np.random.default_rng(seed)
    benign, malignant = _patients_of_each(images, folds)
    fold_of: dict[str, int] = {}
    for patients in (sorted(benign - malignant), sorted(malignant)):
        order.shuffle(patients)
        fold_of |= {patient: place % folds for place, patient in enumerate(patients)}
    parts: list[Fold] = [([], []) for _ in range(folds)]
    for image in images:
        for fold, (train, validation) in enumerate(parts):
            (validation if fold_of[image.patient_id] == fold else train).append(image)
    return _check_folds(parts, seed)


def _patients_of_each(images: Sequence[LabelledImage], folds: int) -> tuple[set[str], set[str]]:
    """Return the patients with benign and those with malignant images; refuse too few for every fold to have both."""
    benign, malignant = (
        {image.patient_id for image in images if image.malignancy == kind} for kind in ("benign", "malignant")
    )
    for kind, patients in (("benign", benign), ("malignant", malignant)):
        if len(patients) < folds:
            raise ValueError(f"{folds} folds need {folds} {kind} patients, but there are {len(patients)}")
    return benign, malignant


def _check_folds(parts: list[Fold], seed: int) -> list[Fold]:
    for train, validation in parts:
        check_apart(train, validation)
        if len({image.malignancy for image in validation}) < 2:
            raise ValueError(
                f"with {len(parts)} folds and seed {seed}, a fold has no benign or no malignant images; "
                "try another seed"
            )
    return parts


def official_folds(images: Sequence[LabelledImage], lists: Path) -> list[Fold]:
    """Return the official folds of the dataset, with leaking images removed from training.

    The lists separate slides, not patients: training images whose patient is also in the fold's test are removed, so
    that the test images are the published ones and no test patient was seen in training.
    Test sets overlap: of the 7,909 images, 1,095 are in no fold's test, and many in several.

    Raises:
        FileNotFoundError: If there are no lists.
        ValueError: If an image is missing from a fold, or a fold has no training or no test images.
    """
    images = unify_patients(images)
    folds: dict[int, dict[str, str]] = {}
    for line in read_fold_lists(lists):
        folds.setdefault(line.fold, {})[Path(line.file).stem] = line.side
    parts = []
    for number, sides in sorted(folds.items()):
        if unlisted := sorted(image.path.name for image in images if image.path.stem not in sides):
            raise ValueError(f"fold {number} does not list {len(unlisted)} images, such as {unlisted[0]}")
        test = [image for image in images if sides[image.path.stem] == "test"]
        test_patients = {image.patient_id for image in test}
        train = [i for i in images if sides[i.path.stem] == "train" and i.patient_id not in test_patients]
        if not train or not test:
            raise ValueError(f"fold {number} has no {'test' if train else 'training'} images")
        parts.append((train, test))
    return parts


def check_apart(train: Sequence[LabelledImage], validation: Sequence[LabelledImage]) -> None:
    """Check that no patient is on both sides of a split.

    Raises:
        ValueError: If a patient is; the message lists the patients.
    """
    _refuse_shared(train, validation, "in train and in validation")


def _refuse_shared(images: Sequence[LabelledImage], others: Sequence[LabelledImage], where: str) -> None:
    known = {fold_identifier(image.patient_id) for image in images}
    if both := {image.patient_id for image in others if fold_identifier(image.patient_id) in known}:
        raise ValueError(f"the same patients are {where}: {', '.join(sorted(both))}")
