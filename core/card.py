"""What a checkpoint states about itself, read from the file's header without loading torch."""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from core.encoder import Encoder
from core.files import describe_first_problem
from core.labels import LabelSet

Triple = tuple[float, float, float]
Head = Literal["published", "additive", "linear", "dense"]
Fusion = Literal["concatenation", "cross_attention", "compact_bilinear"]
Magnification = Literal["ignored", "input", "auxiliary"]

# The safetensors format: eight bytes of header length, then that many bytes of JSON.
_HEADER_LIMIT_BYTES = 25_000_000
_HASH_CHUNK_BYTES = 1 << 24
_ALIGNMENT = 8  # bytes, of the weights
_CARD_LIMIT_BYTES = 1_000_000
CARD_KEY = "card"  # its key in the header's metadata

# A card is read from a file that anyone may have made. What it may ask for at most: enough for every published network,
# and too little to fill the memory of the worker or to make an opinion that is no number.
_SIDES = (16, 1024)  # px, of the square that the network sees
_PATCHES = (16, 4096)  # px of the image
_MOST_OVERLAP = 8  # patches across one patch, in each direction
_COLOURS = (-10.0, 10.0)
_TEMPERATURES = (0.01, 100.0)
_SCALES = (0.01, 20.0)  # µm per pixel
_MOST_SCORES = 20_000  # of training patients
_MOST_CLASSES, _MOST_BRANCHES, _MOST_METRICS = 100, 8, 100
_LONGEST_WORD, _LONGEST_TEXT = 300, 5_000  # characters
_TIMM_NAME = re.compile(r"\w[\w.-]*")  # with a colon or a slash, timm would look for it elsewhere


class UnusableCheckpointError(Exception):
    """A checkpoint that must not be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class InputPolicy:
    """How an image is cut into squares for the network; lengths in pixels.

    `resize` scales the whole image to one square. `patches` cuts squares of `patch_side` image
    pixels every `stride`, the last ones flush with the edge. Both are scaled to `input_side`.
    """

    kind: Literal["resize", "patches"]
    input_side: int = 224
    patch_side: int = 224
    stride: int = 224

    def __post_init__(self) -> None:
        if min(self.input_side, self.patch_side, self.stride) < 1:
            raise ValueError("sides and stride must be at least one pixel")
        if self.stride > self.patch_side:
            raise ValueError(f"a stride of {self.stride} leaves gaps between patches of {self.patch_side} px")


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Below these limits an image is flagged, not refused; the published filter of the hybrid's authors."""

    sharpness: float = 75.0
    tissue_fraction: float = 0.40


@dataclass(frozen=True, slots=True)
class StainTarget:
    """The colours that images are normalised to before the network sees them."""

    method: Literal["reinhard", "macenko"]
    means: Triple = (180.8, 148.6, 116.5)  # OpenCV 8-bit LAB
    deviations: Triple = (35.4, 17.5, 11.1)
    stain_matrix: tuple[Triple, Triple] | None = None  # optical density of haematoxylin and eosin, RGB
    concentrations: tuple[float, float] | None = None  # 99th percentiles


@dataclass(frozen=True, slots=True)
class TrainedScale:
    """The micrometres per pixel of the training images, and those that every image is resampled to."""

    low: float
    high: float
    working: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < math.inf or not 0 < self.working < math.inf:
            raise ValueError(f"a scale needs 0 < low <= high and a working scale above 0, got {self}")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What the network was trained on, in numbers a reader can judge."""

    dataset: str
    images: int
    patients: int
    patient_ids: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured figure, its interval, and the protocol of the measurement."""

    name: str
    value: float
    low: float
    high: float
    protocol: str


@dataclass(frozen=True, slots=True)
class Abstention:
    """When the network should give no opinion: split conformal prediction (Vovk et al., 2005).

    A class is in the set of an image if 1 - its probability is at most `quantile`; unless the
    set holds exactly one malignancy, there is no opinion. `coverage` and `error` were measured where `protocol` says.
    """

    risk: float  # accepted share of images whose set misses the true class
    quantile: float
    coverage: float  # share of images with an opinion
    error: float  # share of wrong opinions among these
    protocol: str


@dataclass(frozen=True, slots=True)
class ScopeReference:
    """How the checkpoint tells whether an image is like its training images; the reference itself is among its tensors.

    The limits are on the score of an image, and were set by patient: `false_alarms` and `unusual` are the shares of
    training patients' images, held out patient by patient, that reach `limit_out` and `limit_unusual`.
    """

    limit_unusual: float
    limit_out: float
    false_alarms: float
    unusual: float
    images: int
    patients: int
    protocol: str
    patient_scores: tuple[float, ...] = ()  # the mean score of each held-out patient, for the watch over uploads

    def __post_init__(self) -> None:
        if not self.limit_unusual <= self.limit_out:
            raise ValueError(f"limit_unusual {self.limit_unusual} must not be above limit_out {self.limit_out}")


@dataclass(frozen=True, slots=True)
class SiteCalibration:
    """How a site has fitted the probabilities of a checkpoint to its own cases; the weights are those of `origin`.

    The log-odds of malignancy of an image are divided by `temperature`, once its patches were averaged. The card's
    thresholds were fitted to the same cases; its metrics were measured on them.
    """

    origin: str  # the version of the checkpoint before any site fitted it
    temperature: float
    cases: int
    malignant: int  # of the cases
    protocol: str

    def __post_init__(self) -> None:
        if not 0 < self.malignant < self.cases:
            raise ValueError(f"a site needs benign and malignant cases, got {self.malignant} malignant of {self.cases}")


@dataclass(frozen=True, slots=True)
class Card:
    """Everything needed to use a network as it was trained, and what is known about its quality."""

    name: str
    label_set: LabelSet
    branches: tuple[str, ...]  # timm names, in the order of concatenation
    head: Head
    input_policy: InputPolicy
    mean: Triple
    std: Triple
    fusion: Fusion = "concatenation"
    magnification: Magnification = "ignored"
    encoder: Encoder | None = None  # how the only branch differs from timm's network of its name
    stain: StainTarget | None = None
    scale: TrainedScale | None = None  # None: images are used as they are, whatever their scale
    threshold: float = 0.5
    sensitive_threshold: float | None = None  # at a sensitivity of 95%, where every patient weighs the same
    temperature: float = 1.0
    locked_on: str = ""  # the predictions that threshold and temperature were fitted to; never test predictions
    abstention: Abstention | None = None
    scope: ScopeReference | None = None
    site: SiteCalibration | None = None  # None: as it was trained
    views: Literal["one", "four", "seven", "eight"] = "eight"
    precision: Literal["fp32", "bf16"] = "fp32"
    quality_limits: QualityLimits = QualityLimits()
    training_data: TrainingData = TrainingData("unknown", 0, 0)
    metrics: tuple[Metric, ...] = ()
    config: dict[str, str | int | float | bool] = field(default_factory=dict)
    code_version: str = "unknown"
    demonstration: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if not self.branches:
            raise ValueError("a card must name at least one branch")
        if self.encoder is not None:
            if len(self.branches) != 1:
                raise ValueError(f"a third-party encoder must be the only branch, but there are {len(self.branches)}")
            if (self.encoder.pooling == "mean") != (self.head == "additive"):
                raise ValueError("the mean of patch tokens needs the additive head, a class token any other")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {self.threshold}")
        if self.sensitive_threshold is not None and not 0 < self.sensitive_threshold < 1:
            raise ValueError(f"sensitive_threshold must lie between 0 and 1, got {self.sensitive_threshold}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if min(self.std) <= 0:
            raise ValueError(f"standard deviations must be above 0, got {self.std}")
        if self.scale and self.input_policy.kind == "resize":
            raise ValueError("a network that sees whole images squeezed into a square has no working scale")

    def to_json(self) -> str:
        """Return the card as the JSON text for a checkpoint's header."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Card":
        """Read a card from JSON.

        Raises:
            UnusableCheckpointError: If the text is not a valid card, or asks for more than a network may.
        """
        if len(text) > _CARD_LIMIT_BYTES:
            raise UnusableCheckpointError(
                f"the checkpoint's card is not valid: longer than {_CARD_LIMIT_BYTES:,} bytes"
            )
        try:
            card = _ADAPTER.validate_json(text)
        except ValidationError as error:
            raise UnusableCheckpointError(
                f"the checkpoint's card is not valid: {describe_first_problem(error, 'the card')}"
            ) from error
        if problem := _find_excess(card):
            raise UnusableCheckpointError(f"the checkpoint's card is not valid: {problem}")
        return card


_ADAPTER = TypeAdapter(Card)


def _find_excess(card: Card) -> str | None:
    """Return the first number or text of a card that is out of bounds; None if there is none."""
    for name in card.branches:
        if not _TIMM_NAME.fullmatch(name):
            return f"the branch {name[:_LONGEST_WORD]!r} is not the name of a timm network"
    for what, value, low, high in _bounded_numbers(card):
        if not low <= value <= high:  # also for nan
            return f"{what} is {str(value)[:30]}, but must be between {low:g} and {high:g}"
    for what, text, longest in _bounded_texts(card):
        if len(text) > longest:
            return f"{what} has {len(text):,} characters, but may have at most {longest:,}"
    return None


def _bounded_numbers(card: Card) -> Iterator[tuple[str, float, float, float]]:
    """Yield every number of a card with its name, its lower and its upper bound."""
    policy, limits, data = card.input_policy, card.quality_limits, card.training_data
    yield "input_policy.input_side", policy.input_side, *_SIDES
    yield "input_policy.patch_side", policy.patch_side, *_PATCHES
    yield "input_policy.stride", policy.stride, policy.patch_side / _MOST_OVERLAP, policy.patch_side
    yield from (("mean", value, *_COLOURS) for value in card.mean)
    yield from (("std", value, 0.001, _COLOURS[1]) for value in card.std)
    yield "threshold", card.threshold, 0, 1
    if card.sensitive_threshold is not None:
        yield "sensitive_threshold", card.sensitive_threshold, 0, 1
    yield "temperature", card.temperature, *_TEMPERATURES
    yield "quality_limits.sharpness", limits.sharpness, 0, 1e6
    yield "quality_limits.tissue_fraction", limits.tissue_fraction, 0, 1
    yield "training_data.images", data.images, 0, 1e9
    yield "training_data.patients", data.patients, 0, 1e9
    yield "the number of classes", len(card.label_set.classes), 2, _MOST_CLASSES
    yield "the number of branches", len(card.branches), 1, _MOST_BRANCHES
    yield "the number of metrics", len(card.metrics), 0, _MOST_METRICS
    for metric in card.metrics:
        yield from (("a metric", value, -1e9, 1e9) for value in (metric.value, metric.low, metric.high))
    if card.encoder:
        yield from card.encoder.bounded_numbers()
    if card.stain:
        yield from _bounded_stain(card.stain)
    if card.scale:
        values = (card.scale.low, card.scale.high, card.scale.working)
        yield from (("scale", value, *_SCALES) for value in values)
    if card.abstention:
        fit = card.abstention
        # Of few images, the quantile is infinite: then no image is left without an opinion of both classes.
        yield "abstention.quantile", min(fit.quantile, 1e9), 0, 1e9
        yield from (("abstention", value, 0, 1) for value in (fit.risk, fit.coverage, fit.error))
    if card.site:
        yield "site.temperature", card.site.temperature, *_TEMPERATURES
        yield from (("site.cases", value, 0, 1e9) for value in (card.site.cases, card.site.malignant))
    if card.scope:
        yield from (("scope limit", value, 0, 1e6) for value in (card.scope.limit_unusual, card.scope.limit_out))
        yield from (("scope", value, 0, 1) for value in (card.scope.false_alarms, card.scope.unusual))
        yield from (("scope", value, 0, 1e9) for value in (card.scope.images, card.scope.patients))
        yield "the number of patients' scores", len(card.scope.patient_scores), 0, _MOST_SCORES
        yield from (("a patient's score", value, 0, 1e6) for value in card.scope.patient_scores)


def _bounded_stain(stain: StainTarget) -> Iterator[tuple[str, float, float, float]]:
    yield from (("stain.means", value, 0, 255) for value in stain.means)
    yield from (("stain.deviations", value, 0.01, 255) for value in stain.deviations)
    yield from (("stain.stain_matrix", value, -10, 10) for row in stain.stain_matrix or () for value in row)
    yield from (("stain.concentrations", value, 0.001, 1000) for value in stain.concentrations or ())


def _bounded_texts(card: Card) -> Iterator[tuple[str, str, int]]:
    """Yield every text of a card that pages show, with its name and its greatest length."""
    words = (card.name, card.label_set.name, *card.label_set.classes, *card.branches, card.code_version)
    yield from (("a name", word, _LONGEST_WORD) for word in words)
    yield from (("the name of a metric", metric.name, _LONGEST_WORD) for metric in card.metrics)
    data = card.training_data
    texts = (card.note, card.locked_on, data.dataset, data.note, *(metric.protocol for metric in card.metrics))
    yield from (("a text", text, _LONGEST_TEXT) for text in texts)
    if card.abstention:
        yield "abstention.protocol", card.abstention.protocol, _LONGEST_TEXT
    if card.site:
        yield from (("site", text, _LONGEST_TEXT) for text in (card.site.origin, card.site.protocol))
    if card.scope:
        yield "scope.protocol", card.scope.protocol, _LONGEST_TEXT


def read_card(path: Path) -> Card:
    """Read the card from the header of a `.safetensors` checkpoint, without reading its weights.

    Raises:
        UnusableCheckpointError: If the file is missing, is not safetensors, or has no card.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _HEADER_LIMIT_BYTES:
                raise UnusableCheckpointError(f"{path.name} is not a safetensors file: choose another checkpoint")
            metadata = json.loads(file.read(length)).get("__metadata__", {})
    except OSError as error:
        raise UnusableCheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    # A header that nests deeply is a RecursionError of the parser.
    except (ValueError, AttributeError, RecursionError) as error:
        raise UnusableCheckpointError(f"{path.name} is not a safetensors file: choose another checkpoint") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get(CARD_KEY), str):
        raise UnusableCheckpointError(f"{path.name} has no card: choose a checkpoint saved by this project's training")
    return Card.from_json(metadata[CARD_KEY])


def write_with_card(path: Path, folder: Path, stem: str, card: Card) -> Path:
    """Write a checkpoint again with another card, the weights byte for byte the same; return the new file.

    Its name is the stem and the new version, so that writing the same twice gives one file. It is written whole or not
    at all.

    Raises:
        UnusableCheckpointError: If the checkpoint cannot be read, or the new one cannot be written.
    """
    read_card(path)
    temporary = folder / f"{stem}-{uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as old, temporary.open("xb") as new:
            header = json.loads(old.read(int.from_bytes(old.read(8), "little")))
            header["__metadata__"][CARD_KEY] = card.to_json()
            text = json.dumps(header, separators=(",", ":")).encode()
            text += b" " * (-len(text) % _ALIGNMENT)
            new.write(len(text).to_bytes(8, "little") + text)
            shutil.copyfileobj(old, new, _HASH_CHUNK_BYTES)
            new.flush()
            os.fsync(new.fileno())
        return temporary.replace(folder / f"{stem}-{model_version(checkpoint_sha256(temporary))}.safetensors")
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UnusableCheckpointError(f"cannot write a checkpoint to {folder}: {error.strerror}") from error


def checkpoint_sha256(path: Path) -> str:
    """Return the sha256 of the whole file; otherwise a flipped bit in the weights would go unnoticed.

    Raises:
        UnusableCheckpointError: If the file cannot be read.
    """
    digest = hashlib.sha256()
    # Large chunks: each one waits for the interpreter's lock, which another busy thread may hold for long.
    chunk = memoryview(bytearray(_HASH_CHUNK_BYTES))
    try:
        with path.open("rb") as file:
            while read := file.readinto(chunk):
                digest.update(chunk[:read])
        return digest.hexdigest()
    except OSError as error:
        raise UnusableCheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from error


def model_version(sha256: str) -> str:
    """Shorten a checkpoint's sha256 to the twelve hex digits that rows and pages show."""
    return sha256[:12]
