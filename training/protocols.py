"""What a run trains and what it judges: folds, a split, or the official folds, always apart by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.calibration import Source
from core.datasets import DatasetName, LabelledImage
from core.fit_config import FitConfig, Task
from core.splits import official_folds, patient_folds, shuffle_split, stratified_split

Images = tuple[LabelledImage, ...]
ALL_PATIENTS = "all patients"
# What lies in the data folder of a task, unless the command says otherwise.
OWN_DATASET: Mapping[Task, DatasetName] = {"binary": "breakhis", "subtypes": "breakhis", "bach": "bach", "idc": "idc"}


@dataclass(frozen=True, slots=True)
class Part:
    """One training of its own: the images it learns from and those it is judged on."""

    name: str
    train: Images
    validation: Images


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a run.

    Figures, temperature and threshold come from the validation images of `judged`. `final` makes the
    checkpoint; without it, the only judged part does. `test` is seen by nobody here.
    """

    judged: tuple[Part, ...]
    final: Part | None
    test: Images
    words: str  # the protocol, for a reader of the card

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything that is trained, in order."""
        return (*self.judged, self.final) if self.final else self.judged

    @property
    def source(self) -> Source:
        """What kind of predictions threshold and temperature are fitted to."""
        return "out of fold" if self.final else "validation"

    @property
    def trained_on(self) -> Images:
        """The images that the checkpoint learnt from."""
        return (self.final or self.judged[0]).train

    @property
    def assignments(self) -> list[tuple[LabelledImage, str]]:
        """Each image with its split or fold; under official folds an image may be in several, or in none."""
        if self.final is None:
            part = self.judged[0]
            sides = (("train", part.train), ("validation", part.validation), ("test", self.test))
            return [(image, word) for word, images in sides for image in images]
        pairs = [(image, part.name) for part in self.judged for image in part.validation]
        judged = {image.path for image, _ in pairs}
        return pairs + [(image, "train") for image in self.final.train if image.path not in judged]


def plan_run(images: Sequence[LabelledImage], config: FitConfig, lists: Path | None = None) -> Plan:
    """Divide the images as the config's protocol says.

    Raises:
        ValueError: If they cannot be divided so, or the official protocol has no lists.
    """
    protocol = config.protocol
    chosen = _chosen(config)
    if protocol.kind == "folds":
        folds = patient_folds(images, protocol.folds, protocol.seed)
        words = f"patient-wise {protocol.folds}-fold, pooled out of fold{chosen}"
        return Plan(_fold_parts(folds), Part(ALL_PATIENTS, tuple(images), ()), (), words)
    if protocol.kind == "official":
        if lists is None:
            raise ValueError("the official folds are read from their lists: pass --lists FOLDER with dsfold1.txt ...")
        folds = official_folds(images, lists)
        words = f"official folds, pooled over their test sides, in which patients come again{chosen}"
        return Plan(_fold_parts(folds), Part(ALL_PATIENTS, tuple(images), ()), (), words)
    cut = shuffle_split if protocol.kind == "shuffle_split" else stratified_split
    split = cut(images, protocol)
    words = f"patient-wise train / validation / test, measured on validation{chosen}"
    return Plan((Part("train", tuple(split.train), tuple(split.validation)),), None, tuple(split.test), words)


def chosen_images(images: Sequence[LabelledImage], config: FitConfig, most: int) -> list[LabelledImage]:
    """Keep the config's magnifications and, for a quick try, the first `most` images of each patient's every class.

    0 keeps all of them.
    """
    if config.magnifications:
        images = [image for image in images if image.magnification in config.magnifications]
    if not most:
        return list(images)
    seen: dict[tuple[str, str], int] = {}
    kept = []
    for image in images:
        key = (image.patient_id, image.label)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= most:
            kept.append(image)
    return kept


def _fold_parts(folds: Sequence[tuple[Sequence[LabelledImage], Sequence[LabelledImage]]]) -> tuple[Part, ...]:
    return tuple(
        Part(f"fold {number} of {len(folds)}", tuple(train), tuple(validation))
        for number, (train, validation) in enumerate(folds, start=1)
    )


def _chosen(config: FitConfig) -> str:
    """Say whether patients judged on chose the epoch or the learning rate; then the figures flatter a little."""
    watched = any(phase.patience or phase.schedule == "plateau" for phase in config.phases)
    return "; the same patients had a say in the training" if config.keep == "best" or watched else ""
