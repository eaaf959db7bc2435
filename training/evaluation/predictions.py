"""Predict labelled images with the analysis that serves readers, and write the predictions to disk."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from core.card import Card
from core.files import write_whole
from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_png, make_thumbnail, scale_to_grey
from core.imaging.limits import UnreadableImageError
from core.imaging.scale import known_um_per_px
from core.labels import BINARY, LabelSet
from core.network.classifier import Classifier
from core.pipeline import analyse_image
from core.results import Analysis, Heatmap, RgbImage, ScopeLevel
from core.statistics.evaluation import ScopeCounts
from core.statistics.predictions import ClassPredictions
from db.files import DamagedFileError, Files
from training.evaluation.chosen_images import ChosenImage, relative_name

PREVIEW_SIDE = 320  # px, the longest side of previews and of their heat maps
_PREVIEW_QUALITY = 85  # JPEG quality of 100; a PNG of tissue is five times as large, and there are thousands

_IMAGE_COLUMNS = ["file", "patient_id", "magnification", "dataset", "label", "split"]


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """The prediction for one labelled image, or the reason why there is none."""

    file: str  # below the dataset's folder
    sha256: str
    patient_id: str
    magnification: str
    dataset: str
    label: str
    malignant: bool
    fold: int | None
    probabilities: tuple[float, ...] = ()  # in the order of the card's classes; empty without a prediction
    predicted: str = ""
    malignant_probability: float = 0.0
    called_malignant: bool = False
    quality: tuple[str, ...] = ()  # warnings; they do not stop an analysis
    notes: tuple[str, ...] = ()  # how the file was read
    reason: str | None = None  # why there is no prediction
    scope: ScopeLevel | None = None  # None: not judged, or the checkpoint has no reference of its training images
    scope_score: float | None = None
    preview_sha256: str | None = None
    heatmap_sha256: str | None = None
    evidence_low: float | None = None  # logit units at grey levels 0 and 255 of the heat map
    evidence_high: float | None = None
    pixels_sha256: str | None = None  # of the pixels as an upload stores them; None without a prediction
    um_per_px: float | None = None  # as the dataset says; the file is asked only if it does not


_ADAPTER = TypeAdapter(JudgedImage)


@dataclass(frozen=True, slots=True)
class Judge:
    """Predicts images; `classifiers` returns the network of a fold, for None the checkpoint itself.

    A dataset may lie in more folders than `root`: `more` are the others.

    Previews and, with `maps`, heat maps are stored in `files`, unless that is None. `journal` is a file to which each
    result is appended at once, so that a killed run resumes where it stopped. With `beyond_scope` an image out of the
    model's scope keeps what the network says of it.
    """

    classifiers: Callable[[int | None], Classifier]
    root: Path
    files: Files | None = None
    maps: bool = False
    journal: Path | None = None
    more: tuple[Path, ...] = ()
    beyond_scope: bool = False

    def judge(self, chosen: Sequence[ChosenImage], advance: Callable[[], object] = lambda: None) -> list[JudgedImage]:
        """Predict every image, or use its result from the journal."""
        known = {_key(image): image for image in _read_journal(self.journal)}
        judged = []
        with _open_journal(self.journal) as journal:
            for one in chosen:
                data, image = self._read(one)
                result = known.get(_key(image))
                if result is None or not self._is_whole(result):
                    result = self._analyse(image, one, data)
                    if journal is not None:
                        journal.write(_ADAPTER.dump_json(result).decode() + "\n")
                        journal.flush()
                judged.append(result)
                advance()
        return judged

    def forget(self) -> None:
        """Remove the journal once its results are written elsewhere."""
        if self.journal is not None:
            self.journal.unlink(missing_ok=True)

    def _is_whole(self, image: JudgedImage) -> bool:
        """Return whether a result of the journal has a hash of its pixels, and its preview and heat map are stored."""
        if image.reason is None and image.pixels_sha256 is None:
            return False  # written by an older version
        try:
            stored = [sha256 for sha256 in (image.preview_sha256, image.heatmap_sha256) if sha256 is not None]
            return self.files is None or all(self.files.get(sha256) for sha256 in stored)
        except DamagedFileError:
            return False

    def _analyse(self, image: JudgedImage, chosen: ChosenImage, data: bytes) -> JudgedImage:
        if image.reason is not None:
            return image
        try:
            decoded = decode_image(data)
        except UnreadableImageError as error:
            return replace(image, reason=str(error))
        classifier = self.classifiers(chosen.fold).at(chosen.image.magnification)
        scale = known_um_per_px(chosen.image.um_per_px, decoded.scale)
        analyse = partial(
            analyse_image, decoded.pixels, classifier, heatmap=self.maps, notes=decoded.notes, um_per_px=scale
        )
        analysis = analyse()
        if analysis.withheld and self.beyond_scope:
            image = replace(_with_analysis(image, analysis), reason=None)
            analysis = analyse(judge_scope=False)
        # An upload of these pixels is stored as this PNG, whatever kind of file they came in.
        image = replace(image, pixels_sha256=hashlib.sha256(encode_png(decoded.pixels)).hexdigest())
        return self._store_previews(_with_analysis(image, analysis), decoded.pixels, analysis.heatmap)

    def _read(self, chosen: ChosenImage) -> tuple[bytes, JudgedImage]:
        image, data, reason = chosen.image, b"", None
        try:
            data = image.path.read_bytes()
        except OSError as error:
            reason = f"the file cannot be read: {error.strerror}"
        return data, JudgedImage(
            file=relative_name(image, self.root, *self.more),
            sha256=hashlib.sha256(data).hexdigest(),
            patient_id=image.patient_id,
            magnification=image.magnification,
            dataset=image.dataset,
            label=image.label,
            malignant=image.malignancy == "malignant",
            fold=chosen.fold,
            um_per_px=image.um_per_px,
            reason=reason,
        )

    def _store_previews(self, image: JudgedImage, pixels: RgbImage, heatmap: Heatmap | None) -> JudgedImage:
        if self.files is None:
            return image
        image = replace(image, preview_sha256=self.files.put(_preview(pixels)))
        if heatmap is None:
            return image
        grey, low, high = scale_to_grey(heatmap)
        sha256 = self.files.put(encode_png(make_thumbnail(grey, PREVIEW_SIDE)))
        return replace(image, heatmap_sha256=sha256, evidence_low=low, evidence_high=high)


def _key(image: JudgedImage) -> tuple[str, str, int | None, float | None]:
    """Return what a result depends on, beside the checkpoint."""
    return image.file, image.sha256, image.fold, image.um_per_px


def judgements_of(judged: Sequence[JudgedImage], card: Card) -> ClassPredictions:
    """Pair predictions with labels, in the card's classes if the images have the same ones.

    Otherwise only malignancy can be compared, and the probabilities are those of benign and malignant.

    Raises:
        ValueError: If no image has a prediction.
    """
    predicted = [image for image in judged if image.reason is None]
    if not predicted:
        if counts := ScopeCounts.of(image.scope for image in judged):
            raise ValueError(f"there is nothing to measure: {counts.words}. With --beyond-scope they are measured too.")
        first = judged[0].reason if judged else "there are no images"
        raise ValueError(f"none of {len(judged)} images has a prediction: {first}")
    label_set = common_label_set(judged, card)
    classes = label_set.classes
    named = [image.label if label_set != BINARY else classes[image.malignant] for image in predicted]
    return ClassPredictions(
        label_set,
        np.array([classes.index(name) for name in named], np.int64),
        np.array([probabilities_in(image, label_set) for image in predicted], np.float64),
        np.array([image.patient_id for image in predicted], np.str_),
        np.array([image.magnification for image in predicted], np.str_),
        np.array([image.label for image in predicted], np.str_),
    )


def common_label_set(judged: Sequence[JudgedImage], card: Card) -> LabelSet:
    """Return the classes that model and images share: the card's own, or benign and malignant."""
    same = {image.dataset for image in judged} == {card.label_set.name}
    return card.label_set if same else BINARY


def probabilities_in(image: JudgedImage, label_set: LabelSet) -> tuple[float, ...]:
    """Return the probabilities of an image in the shared classes."""
    if label_set == BINARY:
        return (1 - image.malignant_probability, image.malignant_probability)
    return image.probabilities


def _with_analysis(image: JudgedImage, analysis: Analysis) -> JudgedImage:
    warnings = tuple(finding.message for finding in analysis.quality.findings if finding.kind == "warning")
    image = replace(image, quality=warnings, notes=analysis.quality.notes)
    if analysis.scope is not None:
        image = replace(image, scope=analysis.scope.level, scope_score=analysis.scope.score)
    prediction = analysis.prediction
    if prediction is None:
        return replace(image, reason=analysis.reason)
    return replace(
        image,
        probabilities=prediction.probabilities,
        predicted=prediction.label,
        malignant_probability=prediction.malignant_probability,
        called_malignant=prediction.malignancy == "malignant",
    )


def _preview(pixels: RgbImage) -> bytes:
    small = cv2.cvtColor(make_thumbnail(pixels, PREVIEW_SIDE), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _PREVIEW_QUALITY])
    return data.tobytes()


def _read_journal(path: Path | None) -> list[JudgedImage]:
    if path is None or not path.exists():
        return []
    images = []
    for line in path.read_bytes().splitlines():
        try:
            images.append(_ADAPTER.validate_json(line))
        except ValidationError:
            # The line that was being written when the run was killed; its image is predicted again.
            continue
    return images


@contextmanager
def _open_journal(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        # If a kill cut off the last line, the next one must start on a new line.
        file.write("\n")
        yield file


def save_predictions(path: Path, judged: Sequence[JudgedImage], card: Card) -> None:
    """Write the predictions, made with the temperature, as Parquet; images without one are left out."""
    predicted = [image for image in judged if image.reason is None]
    table = build_predictions_table(predicted, card, "validation")
    write_whole(path, table[[*_IMAGE_COLUMNS, *_columns(card)]].to_parquet(index=False))


def build_predictions_table(images: Sequence[JudgedImage], card: Card, split: str) -> pd.DataFrame:
    """Return a table with one row per image; images without a prediction have a reason instead of probabilities."""
    rows = [
        {
            "file": image.file,
            "patient_id": image.patient_id,
            "magnification": image.magnification,
            "dataset": image.dataset,
            "label": image.label,
            "split": split if image.fold is None else f"fold {image.fold}",
            **dict(zip(_columns(card), image.probabilities or [math.nan] * len(_columns(card)), strict=True)),
            "malignant_probability": math.nan if image.reason else image.malignant_probability,
            "predicted": image.predicted,
            "quality": "; ".join(image.quality),
            "notes": "; ".join(image.notes),
            "reason": image.reason or "",
            "scope": image.scope or "",
            "scope_score": math.nan if image.scope_score is None else image.scope_score,
            "sha256": image.sha256,
            "evidence_low": image.evidence_low,
            "evidence_high": image.evidence_high,
        }
        for image in images
    ]
    return pd.DataFrame(rows)


def _columns(card: Card) -> list[str]:
    return [f"p_{name}" for name in card.label_set.classes]
