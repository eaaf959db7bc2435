"""Chooses the images of a set that is compared with another, and measures them as a reader's would be."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from core.card import Card
from core.data.datasets import DatasetName, LabelledImage, load_dataset
from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from core.network.classifier import Classifier
from core.pipeline import analyse_image, patches_of
from core.results import RgbImage
from core.statistics.cautions import Caution
from core.statistics.compare_sets import LEAST_PATIENTS, Measured, TooFewPatientsError
from core.statistics.predictions import Judged
from core.statistics.tissue_statistics import measure
from training.evaluation.chosen_images import may_share_patients

_REASONS_SHOWN = 8
_NAMES: dict[DatasetName, str] = {"breakhis": "BreaKHis", "bach": "BACH", "idc": "IDC"}


@dataclass(frozen=True, slots=True)
class Wish:
    """One set as it is asked for: a dataset on disk, perhaps one magnification, and how many images of a patient."""

    dataset: DatasetName
    root: Path
    magnification: str | None = None
    most: int = 50

    @classmethod
    def of(cls, text: str, magnification: str | None, most: int) -> "Wish":
        """Read NAME=ROOT.

        Raises:
            ValueError: If there is no such dataset or no folder named.
        """
        name, _, root = text.partition("=")
        for known in get_args(DatasetName):
            if name == known and root:
                return cls(known, Path(root), magnification, most)
        raise ValueError(f"a set is NAME=ROOT, NAME one of {', '.join(get_args(DatasetName))}; got {text!r}")


@dataclass(frozen=True, slots=True)
class ChosenSet:
    """The images to compare, under the set's name; `persons` are named alike only where they are the same people."""

    name: str
    dataset: DatasetName
    images: tuple[LabelledImage, ...]
    persons: tuple[str, ...]
    found: int  # images there were to choose from


@dataclass(frozen=True, slots=True)
class SeenSet:
    """A set as it was measured and judged: `images` in the order of both; the others are left out, with the reason."""

    measured: Measured
    judged: Judged
    dataset: DatasetName
    images: tuple[LabelledImage, ...]
    left_out: tuple[Caution, ...]

    @property
    def judgeable(self) -> bool:
        """Whether there are two benign and two malignant images at least, as an AUC and its change need."""
        return 2 <= int(self.judged.malignant.sum()) <= len(self.judged.malignant) - 2


def choose_sets(source: Wish, target: Wish) -> tuple[ChosenSet, ChosenSet]:
    """Choose the images of both sets.

    Raises:
        FileNotFoundError: If a dataset is not there.
        TooFewPatientsError: If a set has too few patients to be compared.
        ValueError: If a set has no images of its magnification, or both are the same.
    """
    first, second = _choose(source), _choose(target)
    if {image.path.resolve() for image in first.images} & {image.path.resolve() for image in second.images}:
        raise ValueError("source and target have images in common: name two folders, or two magnifications")
    if first.name == second.name:
        names = [f"{chosen.name} in {wish.root.resolve().name}" for chosen, wish in ((first, source), (second, target))]
        if names[0] == names[1] or source.dataset == "folder":
            raise ValueError(f"both sets are called {first.name}: rename a folder, so that they can be told apart")
        return replace(first, name=names[0]), replace(second, name=names[1])
    return first, second


def _choose(wish: Wish) -> ChosenSet:
    images = load_dataset(wish.dataset, wish.root)
    # Folders of one's own hold different people under the same numbers; a public dataset's numbers are its own.
    where = f"folder {wish.root.resolve().name}" if wish.dataset == "folder" else _NAMES[wish.dataset]
    name = f"{where} {wish.magnification}" if wish.magnification else where
    if wish.magnification:
        there = sorted({image.magnification for image in images})
        images = [image for image in images if image.magnification == wish.magnification]
        if not images:
            raise ValueError(f"{where} has no images at {wish.magnification}; there are {', '.join(there)}")
    chosen = _at_most(images, wish.most)
    persons = tuple(f"{where} {image.patient_id}" for image in chosen)
    _check_patients(name, persons)
    return ChosenSet(name, wish.dataset, tuple(chosen), persons, len(images))


def _at_most(images: Sequence[LabelledImage], most: int) -> list[LabelledImage]:
    """Draw at most so many images of each patient, and keep their order."""
    rng = np.random.default_rng(0)
    of_patient: defaultdict[str, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        of_patient[image.patient_id].append(number)
    kept = [rng.permutation(numbers)[:most] for numbers in of_patient.values()]
    return [images[number] for number in sorted(np.concatenate(kept))]


def _check_patients(name: str, persons: Sequence[str], after: str = "") -> None:
    if (found := len(set(persons))) < LEAST_PATIENTS:
        raise TooFewPatientsError(
            f"{name} has images of {found} patients{after}, and at least {LEAST_PATIENTS} are needed: "
            "with fewer, how much people differ cannot be told from how much the sets do"
        )


def see(chosen: ChosenSet, classifier: Classifier, advance: Callable[[], object] = lambda: None) -> SeenSet:
    """Measure every image as it is, and have it judged and embedded as in serving.

    Raises:
        TooFewPatientsError: If the images that can be used are of too few patients.
        ValueError: If not one image can be used; the message has the commonest reason.
    """
    kept, reasons, rows = [], [], []
    for number, image in enumerate(chosen.images):
        found = _seen(image, classifier)
        if isinstance(found, str):
            reasons.append((image.path.name, found.rstrip(".")))
        else:
            kept.append(number)
            rows.append(found)
        advance()
    if not kept:
        raise ValueError(
            f"not one of {len(reasons)} images of {chosen.name} can be used: "
            f"{Counter(reason for _, reason in reasons).most_common(1)[0][0]}. "
            "Compare with a checkpoint that takes images of this size, or with larger images"
        )
    persons = np.array([chosen.persons[number] for number in kept], np.str_)
    _check_patients(chosen.name, list(persons), " that can be used")
    images = tuple(chosen.images[number] for number in kept)
    features, statistics, probabilities = (np.stack([row[i] for row in rows]) for i in range(3))
    malignant = np.array([image.malignancy == "malignant" for image in images])
    return SeenSet(
        Measured(chosen.name, features, statistics, persons),
        Judged(malignant, probabilities, persons),
        chosen.dataset,
        images,
        left_out_cautions(reasons, len(chosen.images), chosen.name),
    )


def left_out_cautions(reasons: Sequence[tuple[str, str]], images: int, name: str) -> tuple[Caution, ...]:
    """Say how many images were left out for each reason, and name one; `reasons` are file names and reasons."""
    counted = Counter(reason for _, reason in reasons)
    first = {reason: file for file, reason in reversed(reasons)}
    named = [
        Caution(
            "images left out",
            f"{count} of {images} images of {name} left out: {reason}",
            f"{'such as ' if count > 1 else ''}{first[reason]}",
        )
        for reason, count in counted.most_common(_REASONS_SHOWN)
    ]
    more = len(reasons) - sum(count for _, count in counted.most_common(_REASONS_SHOWN))
    others = Caution("images left out", f"{more} more images of {name} left out for other reasons")
    return (*named, others) if more else tuple(named)


def probability_of(pixels: RgbImage, image: LabelledImage, classifier: Classifier) -> float | str:
    """Give the malignant probability that a reader would be shown, or the reason why there is none."""
    analysis = analyse_image(pixels, classifier.at(image.magnification), heatmap=False)
    if analysis.prediction is None:
        return analysis.reason or "no result"
    return analysis.prediction.malignant_probability


def read_pixels(image: LabelledImage) -> RgbImage | str:
    """Decode an image, or give the reason why it cannot be."""
    try:
        return decode_image(image.path.read_bytes()).pixels
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    except UnreadableImageError as error:
        return str(error)


def trained_on(card: Card, seen: SeenSet) -> int:
    """Count the patients of a set that the network was trained on."""
    data = card.training_data
    images = [image for image in seen.images if may_share_patients(data, seen.dataset, image.dataset)]
    return len({image.patient_id for image in images} & set(data.patient_ids))


_Row = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _seen(image: LabelledImage, classifier: Classifier) -> _Row | str:
    """Give features, statistics and malignant probability of one image, or the reason why there are none."""
    pixels = read_pixels(image)
    if isinstance(pixels, str):
        return pixels
    probability = probability_of(pixels, image, classifier)
    if isinstance(probability, str):
        return probability
    patches, _, _ = patches_of(pixels, classifier)
    features = classifier.embed(patches).mean(axis=0, dtype=np.float64)
    return features, measure(pixels), np.array(probability)
