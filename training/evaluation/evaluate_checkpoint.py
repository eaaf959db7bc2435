"""Evaluate a checkpoint: analyse the chosen images, measure, warn, write; nothing is fitted."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.card import Card, read_card
from core.data.datasets import DatasetName, load_dataset, shortfall
from core.labels import BACH, BREAKHIS
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.statistics.calibration import FittedOnTestError
from core.statistics.cautions import Caution, ImageLeftOut
from core.statistics.evaluate import About, build_evaluation
from core.statistics.evaluation import AblationRow, Evaluation
from core.statistics.figure_names import ACCURACY, AUC, BALANCED_ACCURACY, PR_AUC, RECALL, SPECIFICITY
from core.statistics.predictions import Judgements
from db.files import Files
from training.evaluation.ablation import ablate
from training.evaluation.chosen_images import Choice, Part, cautions, choose_images, same_dataset
from training.evaluation.predictions import Judge, JudgedImage, judgements_of
from training.evaluation.report import write_evaluation
from training.runs.folder import RunFolder, unused_folder

WITHOUT = "without normal and in situ"
# BreaKHis holds benign tumours and invasive carcinomas only (Spanhol et al., IEEE TBME 2016).
_UNKNOWN_TO_BREAKHIS = ("normal", "in_situ")
_FIGURES = (ACCURACY, BALANCED_ACCURACY, AUC, PR_AUC, RECALL, SPECIFICITY)

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")  # in the name of a folder


def with_known_tissue_apart(evaluation: Evaluation, judgements: Judgements, about: About, card: Card) -> Evaluation:
    """Add the main figures of the images without normal and in-situ tissue, for a network that never saw any.

    The groups by subtype tell how these two fared; here it is seen how much of a drop they make.
    """
    if not same_dataset(card.training_data.dataset, BREAKHIS.name) or card.label_set == BACH:
        return evaluation
    known = ~np.isin(judgements.subtypes, _UNKNOWN_TO_BREAKHIS)
    if known.all() or not known.any():
        return evaluation
    apart = build_evaluation(judgements.only(known), about)
    added = [replace(f, name=f"{f.name}, {WITHOUT}") for f in apart.figures if f.name in _FIGURES]
    return replace(evaluation, figures=(*evaluation.figures, *added))


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be judged, on which images, and what is kept of it."""

    checkpoint: Path
    dataset: DatasetName
    data: Path
    part: Part = "all"
    run: Path | None = None
    lists: Path | None = None
    threshold: str = "card"
    ablation: bool = False
    maps: bool = True
    out: Path = Path("evaluations")
    device: str = "cpu"

    @property
    def dataset_name(self) -> str:
        """The dataset as an evaluation names it: folders of one's own by their names."""
        return self.dataset if self.dataset != "folder" else f"folder {self.data.resolve().name}"

    @property
    def run_folder(self) -> Path | None:
        """The folder of the run: as named, or where the checkpoint lies if there is a split beside it."""
        beside = self.checkpoint.parent
        return self.run or (beside if RunFolder(beside).split.exists() else None)


@dataclass(frozen=True, slots=True)
class Finished:
    """An evaluation with the folder it was written to and the images behind it."""

    evaluation: Evaluation
    folder: Path
    images: tuple[JudgedImage, ...]


class Judges:
    """Gives the network that judges an image: the checkpoint, or that of the fold which held the image's patient out.

    A fold's network judges under threshold and temperature of the checkpoint's card, so that its figures are those
    that training wrote there.
    """

    def __init__(self, final: Classifier, run: Path | None, device: str) -> None:
        self._final, self._run, self._device = final, run, device
        # The images come fold by fold: more than one large network at a time would only take memory.
        self._of_fold = lru_cache(maxsize=1)(self._load)

    def of(self, fold: int | None) -> Classifier:
        """Give the network of a fold, None meaning the checkpoint itself."""
        return self._final if fold is None else self._of_fold(fold)

    def card(self, fold: int | None) -> Card:
        """Give the card of a fold's network, without loading its weights."""
        return self._final.card if fold is None else read_card(self._path(fold))

    def _path(self, fold: int) -> Path:
        if self._run is None:
            raise ValueError("the networks of the folds lie in the run's folder: name it with --run")
        return RunFolder(self._run).fold(fold)

    def _load(self, fold: int) -> Classifier:
        found = load_classifier(self._path(fold), self._device)
        card = self._final.card
        return found.with_card(
            replace(found.card, threshold=card.threshold, temperature=card.temperature, locked_on=card.locked_on)
        )


def evaluate(request: Request, files: Files | None = None) -> Finished:
    """Judge the chosen images under the card as it is, measure, and write the evaluation's folder.

    Nothing is fitted here: threshold and temperature are those that training locked in the card. `files` takes
    previews and heat maps; without it there are none.

    Raises:
        UnusableCheckpointError: If the checkpoint, or that of a fold, cannot be used.
        FittedOnTestError: If a threshold is asked for that would have to be fitted to these images.
        ValueError: If there is nothing to judge, with the reason.
    """
    classifier = _with_threshold(load_classifier(request.checkpoint, request.device), request.threshold)
    listed = load_dataset(request.dataset, request.data)
    choice = choose_images(listed, request.data, request.part, request.run_folder, request.lists)
    judges = Judges(classifier, request.run_folder, request.device)
    lacking = shortfall(listed, request.dataset)
    warnings = (*cautions(choice, request.dataset, request.part, judges.card), *_incomplete(lacking))
    maps = request.maps and files is not None
    judge = Judge(judges.of, request.data, files, maps=maps, journal=_journal(request, classifier, maps=maps))
    ablation: tuple[AblationRow, ...] = ()
    with progress_bar() as bar:
        images = judge.judge(choice.images, _counting(bar, "judging", choice))
        if all(image.reason is not None for image in images):
            judge.forget()  # there is nothing to go on with
        if request.ablation:
            ablation = ablate(choice.images, judges.of, classifier.card, _counting(bar, "ablation", choice))
    found = _measured(request, classifier, images, warnings, ablation)
    folder = new_folder(request.out, found.model_name, found.model_version, found.dataset, found.split)
    write_evaluation(folder, found, classifier.card, images)
    judge.forget()
    return Finished(found, folder, tuple(images))


def _measured(
    request: Request,
    classifier: Classifier,
    images: Sequence[JudgedImage],
    warnings: tuple[Caution, ...],
    ablation: tuple[AblationRow, ...],
) -> Evaluation:
    card = classifier.card
    about = About(
        model_name=card.name,
        model_version=classifier.version,
        dataset=request.dataset_name,
        split=request.part,
        protocol=_protocol(request, card),
        threshold=card.threshold,
        temperature=card.temperature,
        locked_on=card.locked_on,
        demonstration=card.demonstration,
        warnings=warnings,
        excluded=tuple(ImageLeftOut(image.file, image.reason) for image in images if image.reason is not None),
    )
    judgements = judgements_of(images, card)
    found = build_evaluation(judgements, about, ablation=ablation, abstention=card.abstention)
    return with_known_tissue_apart(found, judgements, about, card)


def _incomplete(lacking: Sequence[str]) -> tuple[Caution, ...]:
    text = f"the dataset is not complete: {'; '.join(lacking)}"
    return (Caution("dataset incomplete", text),) if lacking else ()


def _with_threshold(classifier: Classifier, wish: str) -> Classifier:
    if wish == "card":
        return classifier
    if wish == "0.5":
        locked = f"threshold 0.5 by definition; temperature: {classifier.card.locked_on or 'not said'}"
        return classifier.with_card(replace(classifier.card, threshold=0.5, locked_on=locked))
    raise FittedOnTestError(
        f"--threshold is card or 0.5, got {wish!r}: no threshold is fitted to the images that it is judged on. "
        "Training fits it to out-of-fold or validation predictions and locks it in the card."
    )


def _protocol(request: Request, card: Card) -> str:
    words = {
        "all": f"every image found of {request.dataset_name}",
        "out-of-fold": "each image judged by the network of the fold that held its patient out, pooled",
    }
    own = card.config.get("protocol.kind", "split")
    chosen = words.get(request.part, f"the {request.part} patients of the run's {own}")
    return f"{chosen}; intervals by resampling patients; nothing fitted here"


def _counting(bar: Progress, what: str, choice: Choice) -> Callable[[], None]:
    task = bar.add_task(what, total=len(choice.images))
    return lambda: bar.advance(task)


def progress_bar() -> Progress:
    """Make a bar with counts and times; on stderr, since stdout carries results."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))


def _journal(request: Request, classifier: Classifier, *, maps: bool) -> Path:
    """Name the file in which a killed evaluation is found again, and only by the same request."""
    asked = (request.data.resolve(), request.dataset, request.part, request.run_folder, request.lists, maps)
    digest = hashlib.sha256(repr((*asked, classifier.card.threshold)).encode()).hexdigest()
    return request.out / f".unfinished-{classifier.version}-{digest[:12]}.jsonl"


def new_folder(out: Path, *words: str) -> Path:
    """Make a folder named by these words and the time; no one of this name is ever written into twice."""
    # A card may name its network anything, folders above this one included.
    folder = unused_folder(out, "-".join(_UNSAFE.sub("_", word) for word in words))
    folder.mkdir(parents=True)
    return folder
