"""What a checkpoint states about itself, read from the file's header without loading torch."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from core.files import describe_first_problem
from core.labels import LabelSet

Triple = tuple[float, float, float]
Head = Literal["published", "additive", "linear", "dense"]
Fusion = Literal["concatenation", "cross_attention", "compact_bilinear"]
Magnification = Literal["ignored", "input", "auxiliary"]

# The safetensors format: eight bytes of header length, then that many bytes of JSON.
_HEADER_LIMIT_BYTES = 25_000_000
_HASH_CHUNK_BYTES = 1 << 24
CARD_KEY = "card"  # its key in the header's metadata


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
    stain: StainTarget | None = None
    threshold: float = 0.5
    temperature: float = 1.0
    locked_on: str = ""  # the predictions that threshold and temperature were fitted to; never test predictions
    abstention: Abstention | None = None
    views: Literal["one", "seven", "eight"] = "eight"
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
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {self.threshold}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if min(self.std) <= 0:
            raise ValueError(f"standard deviations must be above 0, got {self.std}")

    def to_json(self) -> str:
        """Return the card as the JSON text for a checkpoint's header."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Card":
        """Read a card from JSON.

        Raises:
            UnusableCheckpointError: If the text is not a valid card.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            raise UnusableCheckpointError(
                f"the checkpoint's card is not valid: {describe_first_problem(error, 'the card')}"
            ) from error


_ADAPTER = TypeAdapter(Card)


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
    except (ValueError, AttributeError) as error:
        raise UnusableCheckpointError(f"{path.name} is not a safetensors file: choose another checkpoint") from error
    if not isinstance(metadata, dict) or CARD_KEY not in metadata:
        raise UnusableCheckpointError(f"{path.name} has no card: choose a checkpoint saved by this project's training")
    return Card.from_json(metadata[CARD_KEY])


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
