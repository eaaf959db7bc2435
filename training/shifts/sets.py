"""Choose the images of a set to compare, and analyse them like images uploaded by a reader."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from core.card import Card
from core.data.datasets import DatasetName, LabelledImage, load_folders
from core.data.images import read_image
from core.data.left_out import dataset_cautions
from core.identifiers import fold_identifier
from core.imaging.scale import known_um_per_px
from core.network.classifier import Classifier
from core.pipeline import analyse_image, cut_normalised_patches
from core.results import RgbImage, ScopeLevel
from core.statistics.cautions import Caution
from core.statistics.compare_sets import LEAST_PATIENTS, MeasuredSet, TooFewPatientsError
from core.statistics.evaluation import ScopeCounts
from core.statistics.predictions import BinaryPredictions
from core.statistics.tissue_statistics import measure_tissue
from training.evaluation.chosen_images import fold_patients, may_share_patients
from training.evaluation.usable_images import none_usable

_REASONS_SHOWN = 8
_NAMES: dict[DatasetName, str] = {"breakhis": "BreaKHis", "bach": "BACH", "idc": "IDC"}


@dataclass(frozen=True, slots=True)
class SetRequest:
    """A requested set: a dataset on disk, optionally one magnification, and a limit on images per patient."""

    dataset: DatasetName
    root: Path
    magnification: str | None = None
    most: int = 50
    outside: bool = False  # whether labels.csv may name links and files outside its folder
    patients: Path | None = None  # a table of the patients of BACH
    more: tuple[Path, ...] = ()  # further folders of the dataset

    @classmethod
    def of(
        cls,
        texts: list[str],  # not a sequence: a text is one too
        magnification: str | None,
        most: int,
        *,
        outside: bool = False,
        patients: Path | None = None,
    ) -> "SetRequest":
        """Parse NAME=ROOT, once for each folder of a dataset; a table of patients counts for BACH only.

        Raises:
            ValueError: If there is no such dataset, a folder is missing, or the folders are of several datasets.
        """
        parsed = [_parse(text) for text in texts]
        dataset, root = parsed[0]
        if other := next((name for name, _ in parsed if name != dataset), None):
            raise ValueError(f"a set is of one dataset: {dataset} and {other} cannot be mixed")
        more = tuple(folder for _, folder in parsed[1:])
        return cls(dataset, root, magnification, most, outside, patients if dataset == "bach" else None, more)


@dataclass(frozen=True, slots=True)
class ChosenSet:
    """The chosen images of a named set; equal `persons` in two sets are the same people."""

    name: str
    dataset: DatasetName
    images: tuple[LabelledImage, ...]
    persons: tuple[str, ...]
    found: int  # number of images to choose from
    cautions: tuple[Caution, ...] = ()  # of its folder


@dataclass(frozen=True, slots=True)
class AnalysedSet:
    """An analysed set: `images` in the order of `measured` and `judged`, and the reasons why others were left out."""

    measured: MeasuredSet
    judged: BinaryPredictions
    dataset: DatasetName
    images: tuple[LabelledImage, ...]  # with the scale of their files, where the dataset does not say it
    left_out: tuple[Caution, ...]
    scope: ScopeCounts | None = None  # None: the checkpoint has no reference of its training images

    @property
    def scales(self) -> NDArray[np.float64]:
        """The micrometres per pixel of every image, nan where they are unknown."""
        return np.array([np.nan if image.um_per_px is None else image.um_per_px for image in self.images])

    @property
    def judgeable(self) -> bool:
        """Whether there are at least two benign and two malignant images, as an AUC and its change require."""
        return 2 <= int(self.judged.malignant.sum()) <= len(self.judged.malignant) - 2


def _parse(text: str) -> tuple[DatasetName, Path]:
    name, _, root = text.partition("=")
    for known in get_args(DatasetName):
        if name == known and root:
            return known, Path(root)
    raise ValueError(f"a set must be NAME=ROOT with NAME one of {', '.join(get_args(DatasetName))}, not {text!r}")


def choose_sets(source: SetRequest, target: SetRequest) -> tuple[ChosenSet, ChosenSet]:
    """Choose the images of both sets.

    Raises:
        FileNotFoundError: If a dataset does not exist.
        TooFewPatientsError: If a set has too few patients to be compared.
        ValueError: If a set has no images at its magnification, or the sets share images or a name.
    """
    first, second = _choose(source), _choose(target)
    if {image.path.resolve() for image in first.images} & {image.path.resolve() for image in second.images}:
        raise ValueError("source and target have images in common: pass two folders, or two magnifications")
    if first.name == second.name:
        names = [f"{chosen.name} in {set_.root.resolve().name}" for chosen, set_ in ((first, source), (second, target))]
        if names[0] == names[1] or source.dataset == "folder":
            raise ValueError(f"both sets are called {first.name}: rename a folder so that they can be distinguished")
        return replace(first, name=names[0]), replace(second, name=names[1])
    return first, second


def _choose(request: SetRequest) -> ChosenSet:
    roots = (request.root, *request.more)
    images = load_folders(request.dataset, roots, outside=request.outside, patients=request.patients)
    cautions = dataset_cautions(request.dataset, request.root, images, *request.more)
    # Two folders may use the same number for different people; the numbers of a public dataset are unique in it.
    where = ", ".join(dict.fromkeys(name_set(request.dataset, root) for root in roots))
    name = f"{where} {request.magnification}" if request.magnification else where
    if request.magnification:
        available = sorted({image.magnification for image in images})
        images = [image for image in images if image.magnification == request.magnification]
        if not images:
            raise ValueError(f"{where} has no images at {request.magnification}; available: {', '.join(available)}")
    chosen = sample_images(images, request.most)
    persons = tuple(f"{where} {image.patient_id}" for image in chosen)
    _check_patients(name, persons)
    return ChosenSet(name, request.dataset, tuple(chosen), persons, len(images), cautions)


def name_set(dataset: DatasetName, root: Path) -> str:
    """Return what the images of a dataset are called in words."""
    return f"folder {root.resolve().name}" if dataset == "folder" else _NAMES[dataset]


def sample_images(images: Sequence[LabelledImage], most: int) -> list[LabelledImage]:
    """Draw at most `most` images of each patient, in their original order."""
    rng = np.random.default_rng(0)
    by_patient: defaultdict[str, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        by_patient[image.patient_id].append(number)
    drawn = [rng.permutation(numbers)[:most] for numbers in by_patient.values()]
    return [images[number] for number in sorted(np.concatenate(drawn))]


def _check_patients(name: str, persons: Sequence[str], condition: str = "") -> None:
    if (count := len(set(persons))) < LEAST_PATIENTS:
        raise TooFewPatientsError(
            f"{name} has images of {count} patients{condition}, but at least {LEAST_PATIENTS} are needed to "
            "distinguish differences between sets from differences between patients"
        )


def analyse_set(chosen: ChosenSet, classifier: Classifier, advance: Callable[[], object] = lambda: None) -> AnalysedSet:
    """Measure every image as it is, and predict and embed it as in serving.

    Raises:
        TooFewPatientsError: If the usable images are of too few patients.
        ValueError: If no image is usable; the message has the most common reason.
    """
    usable, reasons, rows, levels = [], [], [], []
    for number, image in enumerate(chosen.images):
        row = _analyse(image, classifier)
        if isinstance(row, str):
            reasons.append((image.path.name, row.rstrip(".")))
        else:
            usable.append(number)
            rows.append(row[0])
            levels.append(row[1])
        advance()
    if not usable:
        raise none_usable(chosen.name, [reason for _, reason in reasons])
    persons = np.array([chosen.persons[number] for number in usable], np.str_)
    _check_patients(chosen.name, list(persons), " among those that can be used")
    features, statistics, probabilities, scales = (np.stack(column) for column in zip(*rows, strict=True))
    used = tuple(
        replace(chosen.images[number], um_per_px=None if np.isnan(scale) else float(scale))
        for number, scale in zip(usable, scales, strict=True)
    )
    malignant = np.array([image.malignancy == "malignant" for image in used])
    return AnalysedSet(
        MeasuredSet(chosen.name, features, statistics, persons),
        BinaryPredictions(malignant, probabilities, persons),
        chosen.dataset,
        used,
        unusable_image_cautions(reasons, len(chosen.images), chosen.name),
        ScopeCounts.of(levels),
    )


def unusable_image_cautions(reasons: Sequence[tuple[str, str]], images: int, name: str) -> tuple[Caution, ...]:
    """Return how many images were left out for each reason, with one file; `reasons` are file names and reasons."""
    counts = Counter(reason for _, reason in reasons)
    first = {reason: file for file, reason in reversed(reasons)}
    named = [
        Caution(
            "images left out",
            f"{count} of {images} images of {name} were left out: {reason}",
            f"{'such as ' if count > 1 else ''}{first[reason]}",
        )
        for reason, count in counts.most_common(_REASONS_SHOWN)
    ]
    more = len(reasons) - sum(count for _, count in counts.most_common(_REASONS_SHOWN))
    others = Caution("images left out", f"{more} more images of {name} were left out for other reasons")
    return (*named, others) if more else tuple(named)


def probability_of(
    pixels: RgbImage, image: LabelledImage, classifier: Classifier, um_per_px: float | None
) -> float | str:
    """Return the malignant probability, or the reason why there is none.

    It is also that of an image out of scope, of which a reader would see none: a shift is about just such images.
    """
    judge = classifier.with_scope(None).at(image.magnification)
    analysis = analyse_image(pixels, judge, heatmap=False, um_per_px=um_per_px)
    if analysis.prediction is None:
        return analysis.reason or "no result"
    return analysis.prediction.malignant_probability


def count_training_patients(card: Card, dataset: DatasetName, images: Sequence[LabelledImage]) -> int:
    """Count the patients of images that the network was trained on."""
    data = card.training_data
    shared = [image for image in images if may_share_patients(data, dataset, image.dataset)]
    return len({fold_identifier(image.patient_id) for image in shared} & fold_patients(data))


_Row = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _analyse(image: LabelledImage, classifier: Classifier) -> tuple[_Row, ScopeLevel | None] | str:
    """Return features, statistics, malignant probability and scale (nan: unknown), or the reason why there are none.

    With them comes how unlike the training images it is.
    """
    decoded = read_image(image)
    if isinstance(decoded, str):
        return decoded
    scale = known_um_per_px(image.um_per_px, decoded.scale)
    probability = probability_of(decoded.pixels, image, classifier, scale)
    if isinstance(probability, str):
        return probability
    cut = cut_normalised_patches(decoded.pixels, classifier, scale)
    features = classifier.embed(cut.patches).mean(axis=0, dtype=np.float64)
    known = np.array(np.nan if scale is None else scale)
    level: ScopeLevel | None = None
    if classifier.scope is not None:
        judged = classifier.scope.judge(decoded.pixels, cut.pixels, classifier.features(cut.patches))
        level = judged.scope.level
    return (features, measure_tissue(decoded.pixels), np.array(probability), known), level
