"""Plan a run: folder, config, images, and the parts to train and evaluate, always split by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import distributed

from core.data.datasets import DatasetName, LabelledImage, describe_shortfall, load_folders
from core.data.left_out import dataset_cautions, left_out_cautions, list_unlabelled
from core.data.splits import dealt_folds, official_folds, patient_folds, shuffle_split, stratified_split
from core.data.stated_scales import with_stated_scales
from core.fitting.config import FitConfig, Task, read_config
from core.fitting.distributed import rank
from core.statistics.calibration import PredictionSource
from core.statistics.cautions import Caution
from training.runs.folder import Order, RunFolder, create_run, split_rows

Images = tuple[LabelledImage, ...]
ALL_PATIENTS = "all patients"
# The dataset of each task, unless the command names another.
OWN_DATASET: Mapping[Task, DatasetName] = {"binary": "breakhis", "subtypes": "breakhis", "bach": "bach", "idc": "idc"}


@dataclass(frozen=True, slots=True)
class Part:
    """One network to train: its training images and the images it is evaluated on."""

    name: str
    train: Images
    validation: Images


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The parts of a run.

    Figures, temperature and threshold come from the validation images of `judged`. `final` trains the checkpoint; if
    it is None, the only judged part does. `test` is not used during the run.
    """

    judged: tuple[Part, ...]
    final: Part | None
    test: Images
    words: str  # the protocol, in the words of the card

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything that is trained, in order."""
        return (*self.judged, self.final) if self.final else self.judged

    @property
    def source(self) -> PredictionSource:
        """The kind of predictions that threshold and temperature are fitted to."""
        return "out of fold" if self.final else "validation"

    @property
    def trained_on(self) -> Images:
        """The images that the checkpoint is trained on."""
        return (self.final or self.judged[0]).train

    @property
    def assignments(self) -> list[tuple[LabelledImage, str]]:
        """Each image with its split or fold; with official folds an image may be in several, or in none."""
        if self.final is None:
            part = self.judged[0]
            sides = (("train", part.train), ("validation", part.validation), ("test", self.test))
            return [(image, word) for word, images in sides for image in images]
        pairs = [(image, part.name) for part in self.judged for image in part.validation]
        judged = {image.path for image, _ in pairs}
        return pairs + [(image, "train") for image in self.final.train if image.path not in judged]


def plan_run(images: Sequence[LabelledImage], config: FitConfig, lists: Path | None = None) -> RunPlan:
    """Split the images according to the config's protocol.

    Raises:
        ValueError: If they cannot be split that way, or the lists of the official folds are missing.
    """
    protocol = config.protocol
    reuse = _reuse_note(config)
    if protocol.kind in ("folds", "dealt"):
        is_dealt = protocol.kind == "dealt"
        folds = (dealt_folds if is_dealt else patient_folds)(images, protocol.folds, protocol.seed)
        how = f" dealt with seed {protocol.seed}" if is_dealt else ""
        words = f"patient-wise {protocol.folds}-fold{how}, pooled out of fold{reuse}"
        return RunPlan(_fold_parts(folds), Part(ALL_PATIENTS, tuple(images), ()), (), words)
    if protocol.kind == "official":
        if lists is None:
            raise ValueError("the official protocol needs its fold lists: pass --lists FOLDER with dsfold1.txt, ...")
        folds = official_folds(images, lists)
        words = f"official folds, pooled over their test sides, which share patients{reuse}"
        return RunPlan(_fold_parts(folds), Part(ALL_PATIENTS, tuple(images), ()), (), words)
    cut = shuffle_split if protocol.kind == "shuffle_split" else stratified_split
    split = cut(images, protocol)
    words = f"patient-wise train / validation / test, measured on validation{reuse}"
    return RunPlan((Part("train", tuple(split.train), tuple(split.validation)),), None, tuple(split.test), words)


def filter_images(images: Sequence[LabelledImage], config: FitConfig, most: int) -> list[LabelledImage]:
    """Return the images at the config's magnifications, at most `most` per patient and class; 0 returns all.

    If the run has a working scale, images of unknown scale get the one that their file states.

    Raises:
        ValueError: If the run has a working scale, and that of no image is known.
    """
    kept = _at_most(images, config, most)
    if config.working_um_per_px is None:
        return kept
    kept = with_stated_scales(kept)
    if all(image.um_per_px is None for image in kept):
        raise ValueError(
            "working_um_per_px needs images of known scale: add a column um_per_px to labels.csv, or unset it"
        )
    return kept


def scale_cautions(images: Sequence[LabelledImage], config: FitConfig) -> tuple[Caution, ...]:
    """Return how many images of a run with a working scale are used as they are, because their scale is unknown."""
    unknown = [image for image in images if image.um_per_px is None]
    if config.working_um_per_px is None or not unknown:
        return ()
    text = f"the scale of {len(unknown)} of {len(images)} images is unknown: they are used as they are"
    return (Caution("scale unknown", text),)


def _at_most(images: Sequence[LabelledImage], config: FitConfig, most: int) -> list[LabelledImage]:
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


def _reuse_note(config: FitConfig) -> str:
    """Return a note if the evaluated patients also chose the epoch or learning rate: figures are then optimistic."""
    monitored = any(phase.patience or phase.schedule == "plateau" for phase in config.phases)
    return "; the same patients influenced the training" if config.keep == "best" or monitored else ""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One run: its folder, config and options, and the parts to train and evaluate."""

    folder: RunFolder
    config: FitConfig
    order: Order
    plan: RunPlan
    missing: tuple[str, ...]  # differences of the dataset from the official counts
    cautions: tuple[Caution, ...]  # patients taken as one, and pictures that are not used
    targets: tuple[Path, ...]  # the unlabelled images from another laboratory

    @property
    def weight_files(self) -> Mapping[str, Path]:
        """The files of pretrained weights by branch."""
        return weight_files(self.order.weights)


def create_job(config: FitConfig, text: str, order: Order, runs: Path) -> TrainingJob:
    """Plan a run and create its folder; under torchrun the leading process creates it for all.

    Raises:
        ValueError: If the images cannot be split as configured, or an option that the config needs is missing.
        FileNotFoundError: If the dataset does not exist.
    """
    weight_files(order.weights)
    if (config.adversarial is None) != (order.targets is None):
        raise ValueError(
            "domain-adversarial training and --target (a folder of unlabelled images) must be used together"
        )
    read = _read_images(config, order)
    path = [""]  # a list, so that it can be broadcast
    if rank() == 0:
        rows = split_rows(read[0].assignments, *order.roots)
        path = [str(create_run(runs, config.name, text, order, rows).path)]
    if distributed.is_initialized():
        distributed.broadcast_object_list(path)
    return TrainingJob(RunFolder(Path(path[0])), config, order, *read)


def reopen_job(folder: RunFolder, *, outside: bool = False) -> TrainingJob:
    """Read the plan of an earlier run from its folder.

    Raises:
        ValueError: If the folder is not that of a run, or its images have changed.
    """
    order = folder.order()
    order = replace(order, outside=order.outside or outside)
    config, _ = read_config(folder.config)
    read = _read_images(config, order)
    folder.check_split(split_rows(read[0].assignments, *order.roots))
    return TrainingJob(folder, config, order, *read)


def weight_files(pairs: Sequence[str]) -> dict[str, Path]:
    """Parse NAME=FILE pairs.

    Raises:
        ValueError: If one is not such a pair.
    """
    files = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals:
            raise ValueError(f"--weights must be NAME=FILE, not {pair!r}")
        files[name] = Path(file)
    return files


def _read_images(
    config: FitConfig, order: Order
) -> tuple[RunPlan, tuple[str, ...], tuple[Caution, ...], tuple[Path, ...]]:
    """Return the plan of a run, what its dataset lacks, what must be known of its folders, and its target images."""
    images = load_folders(order.dataset, order.roots, outside=order.outside, patients=order.patients)
    used = filter_images(images, config, order.limit)
    plan = plan_run(used, config, order.lists)
    targets, unused = list_unlabelled(order.targets) if order.targets else ((), ())
    cautions = (
        *dataset_cautions(order.dataset, order.data, images, *order.more),
        *left_out_cautions(unused),
        *scale_cautions(used, config),
    )
    return plan, describe_shortfall(images, order.dataset), cautions, targets
