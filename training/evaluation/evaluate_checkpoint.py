"""Evaluate a checkpoint without fitting: analyse the chosen images, measure, collect cautions and write the report."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from core.card import Card, read_card
from core.console import progress_bar
from core.data.datasets import DatasetName, describe_shortfall, load_folders
from core.data.left_out import dataset_cautions
from core.labels import BACH, BREAKHIS
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.statistics.calibration import FittedOnTestError
from core.statistics.cautions import Caution, ImageLeftOut, ImageNote
from core.statistics.evaluate import EvaluationDetails, build_evaluation
from core.statistics.evaluation import AblationRow, Evaluation, ScopeCounts
from core.statistics.figure_names import ACCURACY, AUC, BALANCED_ACCURACY, PR_AUC, RECALL, SPECIFICITY
from core.statistics.predictions import ClassPredictions
from db.files import Files
from training.evaluation.ablation import ablate
from training.evaluation.chosen_images import (
    ImageChoice,
    SplitPart,
    choose_images,
    collect_cautions,
    is_same_dataset,
    relative_name,
)
from training.evaluation.predictions import Judge, JudgedImage, judgements_of
from training.evaluation.report import write_evaluation
from training.evaluation.usable_images import refuse_unusable
from training.runs.folder import RunFolder, unused_folder

WITHOUT = "without normal and in situ"
KNOWN_PATIENTS = "known patients only"
# BreaKHis holds benign tumours and invasive carcinomas only (Spanhol et al., IEEE TBME 2016).
_UNKNOWN_TO_BREAKHIS = ("normal", "in_situ")
_FIGURES = (ACCURACY, BALANCED_ACCURACY, AUC, PR_AUC, RECALL, SPECIFICITY)

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")  # in the name of a folder


def add_figures_of_known_tissue(
    evaluation: Evaluation, judgements: ClassPredictions, about: EvaluationDetails, card: Card
) -> Evaluation:
    """Add the main figures without normal and in-situ tissue, for a network that was not trained on any.

    The groups by subtype show the figures of these two; the added figures show how much of a drop they cause.
    """
    if not is_same_dataset(card.training_data.dataset, BREAKHIS.name) or card.label_set == BACH:
        return evaluation
    return _add_figures(evaluation, judgements, about, ~np.isin(judgements.subtypes, _UNKNOWN_TO_BREAKHIS), WITHOUT)


def add_figures_of_known_patients(
    evaluation: Evaluation, judgements: ClassPredictions, about: EvaluationDetails, known: NDArray[np.bool_]
) -> Evaluation:
    """Add the main figures of the images whose patients are known; only their intervals are sure to be wide enough."""
    return _add_figures(evaluation, judgements, about, known, KNOWN_PATIENTS)


def _add_figures(
    evaluation: Evaluation,
    judgements: ClassPredictions,
    about: EvaluationDetails,
    chosen: NDArray[np.bool_],
    words: str,
) -> Evaluation:
    if chosen.all() or not chosen.any():
        return evaluation
    part = build_evaluation(judgements.only(chosen), about)
    added = [replace(f, name=f"{f.name}, {words}") for f in part.figures if f.name in _FIGURES]
    return replace(evaluation, figures=(*evaluation.figures, *added))


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The checkpoint to evaluate, the images, and the outputs to write."""

    checkpoint: Path
    dataset: DatasetName
    data: Path
    part: SplitPart = "all"
    run: Path | None = None
    lists: Path | None = None
    threshold: str = "card"
    ablation: bool = False
    maps: bool = True
    out: Path = Path("evaluations")
    device: str = "cpu"
    outside: bool = False  # whether labels.csv may name links and files outside its folder
    patients: Path | None = None  # a table of the patients of BACH
    more: tuple[Path, ...] = ()  # further folders of the dataset
    beyond_scope: bool = False  # whether images out of scope, on which readers get no opinion, are measured too

    @property
    def roots(self) -> tuple[Path, ...]:
        """All folders of the dataset."""
        return (self.data, *self.more)

    @property
    def dataset_name(self) -> str:
        """The name of the dataset in an evaluation; for a folder of images it has the folder's name."""
        return self.dataset if self.dataset != "folder" else f"folder {self.data.resolve().name}"

    @property
    def run_folder(self) -> Path | None:
        """The folder of the run: the given one, or the checkpoint's folder if it has a split."""
        beside = self.checkpoint.parent
        return self.run or (beside if RunFolder(beside).split.exists() else None)


@dataclass(frozen=True, slots=True)
class FinishedEvaluation:
    """An evaluation with its folder and its images."""

    evaluation: Evaluation
    folder: Path
    images: tuple[JudgedImage, ...]


class FoldClassifiers:
    """Finds the network for an image: the checkpoint, or the network of the fold that held out the image's patient.

    A fold's network uses the threshold and temperature of the checkpoint's card, so that its figures are those that
    training wrote there.
    """

    def __init__(self, final: Classifier, run: Path | None, device: str) -> None:
        self._final, self._run, self._device = final, run, device
        # Images come fold by fold, so more than one network at a time would only waste memory.
        self._of_fold = lru_cache(maxsize=1)(self._load)

    def of(self, fold: int | None) -> Classifier:
        """Return the network of a fold; None means the checkpoint itself."""
        return self._final if fold is None else self._of_fold(fold)

    def card(self, fold: int | None) -> Card:
        """Return the card of a fold's network without loading its weights."""
        return self._final.card if fold is None else read_card(self._path(fold))

    def _path(self, fold: int) -> Path:
        if self._run is None:
            raise ValueError("the networks of the folds are in the run's folder: pass it with --run")
        return RunFolder(self._run).fold(fold)

    def _load(self, fold: int) -> Classifier:
        classifier = load_classifier(self._path(fold), self._device)
        card = self._final.card
        return classifier.with_card(
            replace(
                classifier.card,
                threshold=card.threshold,
                sensitive_threshold=card.sensitive_threshold,
                temperature=card.temperature,
                locked_on=card.locked_on,
            )
        )


def evaluate(request: EvaluationRequest, files: Files | None = None) -> FinishedEvaluation:
    """Evaluate the chosen images with the card as it is, and write the evaluation's folder.

    Nothing is fitted: threshold and temperature are those that training locked in the card. Previews and heat maps
    are stored in `files`; if it is None, there are none.

    Raises:
        UnusableCheckpointError: If the checkpoint, or that of a fold, cannot be used.
        FittedOnTestError: If the requested threshold would have to be fitted to these images.
        ValueError: If there is nothing to evaluate; the message has the reason.
    """
    classifier = _with_threshold(load_classifier(request.checkpoint, request.device), request.threshold)
    labelled = load_folders(request.dataset, request.roots, outside=request.outside, patients=request.patients)
    choice = choose_images(labelled, request.roots, request.part, request.run_folder, request.lists)
    refuse_unusable(request.dataset_name, [one.image for one in choice.images], classifier.card)
    judges = FoldClassifiers(classifier, request.run_folder, request.device)
    missing = describe_shortfall(labelled, request.dataset)
    warnings = (
        *collect_cautions(choice, request.dataset, request.part, judges.card),
        *_incomplete(missing),
        *dataset_cautions(request.dataset, request.data, labelled, *request.more),
    )
    maps = request.maps and files is not None
    judge = Judge(
        judges.of,
        request.data,
        files,
        maps=maps,
        journal=_journal(request, classifier, maps=maps),
        more=request.more,
        beyond_scope=request.beyond_scope,
    )
    ablation: tuple[AblationRow, ...] = ()
    with progress_bar() as bar:
        images = judge.judge(choice.images, _count_images(bar, "evaluating", choice))
        if all(image.reason is not None for image in images):
            judge.forget()  # there is nothing to resume
        if request.ablation:
            pairs = zip(choice.images, images, strict=True)
            answered = [one for one, image in pairs if request.beyond_scope or image.scope != "out"]
            ablation = ablate(answered, judges.of, classifier.card, _count_images(bar, "ablation", choice))
    unknown = {relative_name(one.image, *request.roots) for one in choice.images if not one.image.patient_known}
    evaluation = _measure(request, classifier, images, warnings, ablation, unknown)
    folder = create_folder(
        request.out, evaluation.model_name, evaluation.model_version, evaluation.dataset, evaluation.split
    )
    write_evaluation(folder, evaluation, classifier.card, images)
    judge.forget()
    return FinishedEvaluation(evaluation, folder, tuple(images))


def _measure(
    request: EvaluationRequest,
    classifier: Classifier,
    images: Sequence[JudgedImage],
    warnings: tuple[Caution, ...],
    ablation: tuple[AblationRow, ...],
    unknown: Collection[str],
) -> Evaluation:
    """Measure the predictions; `unknown` are the files whose patients nobody wrote down."""
    card = classifier.card
    scope = ScopeCounts.of(image.scope for image in images)
    about = EvaluationDetails(
        model_name=card.name,
        model_version=classifier.version,
        dataset=request.dataset_name,
        split=request.part,
        protocol=_protocol(request, card),
        threshold=card.threshold,
        temperature=card.temperature,
        locked_on=card.locked_on,
        demonstration=card.demonstration,
        warnings=(*warnings, *_without_result(request, images)),
        excluded=tuple(ImageLeftOut(image.file, image.reason) for image in images if image.reason is not None),
        notes=tuple(_notes(images)),
        scope=scope,
    )
    judgements = judgements_of(images, card)
    evaluation = build_evaluation(judgements, about, ablation=ablation, abstention=card.abstention)
    evaluation = add_figures_of_known_tissue(evaluation, judgements, about, card)
    known = np.array([image.file not in unknown for image in images if image.reason is None])
    return add_figures_of_known_patients(evaluation, judgements, about, known)


def _without_result(request: EvaluationRequest, images: Sequence[JudgedImage]) -> Iterator[Caution]:
    """Yield what must be known of images that readers would get no opinion on, or that could not be analysed."""
    unusable = sum(image.reason is not None and image.scope != "out" for image in images)
    if unusable:
        yield Caution("images left out", f"{unusable} of {len(images)} images could not be analysed")
    scope = ScopeCounts.of(image.scope for image in images)
    if scope is not None and scope.out:
        measured = (
            "also of images on which readers get no opinion" if request.beyond_scope else "of images with an opinion"
        )
        yield Caution("out of scope", f"figures are {measured}: {scope.words}")


def _notes(images: Sequence[JudgedImage]) -> Iterator[ImageNote]:
    position = 0
    for image in images:
        position += image.reason is None
        for note in image.notes:
            yield ImageNote(image.file, note, position if image.reason is None else None)


def _incomplete(missing: Sequence[str]) -> tuple[Caution, ...]:
    text = f"the dataset differs from its official release: {'; '.join(missing)}"
    return (Caution("dataset incomplete", text),) if missing else ()


def _with_threshold(classifier: Classifier, threshold: str) -> Classifier:
    if threshold == "card":
        return classifier
    if threshold == "0.5":
        locked = f"threshold 0.5 by definition; temperature: {classifier.card.locked_on or 'not recorded'}"
        return classifier.with_card(replace(classifier.card, threshold=0.5, locked_on=locked))
    raise FittedOnTestError(
        f"--threshold must be card or 0.5, not {threshold!r}: no threshold is fitted to the evaluated "
        "images. Training fits it to out-of-fold or validation predictions and locks it in the card."
    )


def _protocol(request: EvaluationRequest, card: Card) -> str:
    words = {
        "all": f"every image of {request.dataset_name} that was found",
        "out-of-fold": "each image classified by the network of the fold that held out its patient, pooled",
    }
    own = str(card.config.get("protocol.kind", "split")).replace("_", " ")
    chosen = words.get(request.part, f"the {request.part} patients of the run's {own}")
    return f"{chosen}; intervals from resampling patients; nothing was fitted in this evaluation"


def _count_images(bar: Progress, what: str, choice: ImageChoice) -> Callable[[], None]:
    task = bar.add_task(what, total=len(choice.images))
    return lambda: bar.advance(task)


def _journal(request: EvaluationRequest, classifier: Classifier, *, maps: bool) -> Path:
    """Return the file from which an interrupted evaluation resumes; another request has another file."""
    key = (
        *(root.resolve() for root in request.roots),
        request.dataset,
        request.part,
        request.run_folder,
        request.lists,
        maps,
        request.beyond_scope,
    )
    digest = hashlib.sha256(repr((*key, classifier.card.threshold)).encode()).hexdigest()
    return request.out / f".unfinished-{classifier.version}-{digest[:12]}.jsonl"


def create_folder(out: Path, *words: str) -> Path:
    """Create a new folder named by these words and the current time."""
    # The words may be anything: a card could name its network "../..".
    folder = unused_folder(out, "-".join(_UNSAFE.sub("_", word) for word in words))
    folder.mkdir(parents=True)
    return folder
