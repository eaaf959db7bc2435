"""The values that flow from an image to a reader and back: quality, prediction, analysis, reading."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.labels import LabelSet, Malignancy

RgbImage = NDArray[np.uint8]  # height x width x 3, sRGB
Heatmap = NDArray[np.float32]  # height x width of the image it explains; logit units, not stretched
Patches = NDArray[np.uint8]  # patches x side x side x 3
Probabilities = NDArray[np.float32]  # patches x classes
Evidence = NDArray[np.float32]  # patches x side x side; logit units
ScopeLevel = Literal["in", "unusual", "out"]
Priority = Literal["interactive", "cohort"]  # somebody waits for it, or it is one of very many images
PatchFeatures = NDArray[np.float32]  # patches x rows x columns x values, of the upright patch
PatchEmbeddings = NDArray[np.float32]  # patches x channels: what the head sees of the upright patch
Embedding = NDArray[np.float16]  # channels of an image; of length 1
Box = tuple[int, int, int, int]  # left, top, right, bottom in image pixels; right and bottom outside

# The reason of an analysis that is withheld begins with this.
OUT_OF_SCOPE = "No opinion: this image is unlike the training images"


class NoResultError(Exception):
    """The network's output is not a finite number, so there is no result and no label may be derived from it."""


@dataclass(frozen=True, slots=True)
class PatchFindings:
    """What one forward pass says of the patches of an image; the evidence only if it was asked for."""

    probabilities: Probabilities
    features: PatchFeatures
    evidence: Evidence | None = None
    embeddings: PatchEmbeddings | None = None

    @classmethod
    def join(cls, parts: "Sequence[PatchFindings]") -> "PatchFindings":
        """Return the findings of all patches from those of parts of them, in order."""
        maps = [part.evidence for part in parts if part.evidence is not None]
        embeddings = [part.embeddings for part in parts if part.embeddings is not None]
        return cls(
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.features for part in parts]),
            np.concatenate(maps) if maps else None,
            np.concatenate(embeddings) if embeddings else None,
        )

    def cut(self, start: int, stop: int) -> "PatchFindings":
        """Return the findings of some of the patches."""
        evidence = None if self.evidence is None else self.evidence[start:stop]
        embeddings = None if self.embeddings is None else self.embeddings[start:stop]
        return PatchFindings(self.probabilities[start:stop], self.features[start:stop], evidence, embeddings)


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """One problem of an image, in words for the reader; a note says how its file was read."""

    kind: Literal["unreadable", "warning", "note"]
    message: str


@dataclass(frozen=True, slots=True)
class Quality:
    """What is measured on an image before any network sees it, and what was noticed when its file was read.

    `sharpness` is the variance of the Laplacian of the grey image at full size; `tissue_fraction` is in 0..1.
    """

    sharpness: float
    tissue_fraction: float
    findings: tuple[QualityFinding, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sharpness) and self.sharpness >= 0):
            raise ValueError(f"sharpness must be a number of 0 or more, got {self.sharpness}")
        if not 0 <= self.tissue_fraction <= 1:
            raise ValueError(f"tissue_fraction must lie in 0..1, got {self.tissue_fraction}")

    @property
    def readable(self) -> bool:
        """Whether a network may analyse this image."""
        return not any(finding.kind == "unreadable" for finding in self.findings)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the image."""
        return tuple(finding.message for finding in self.findings if finding.kind != "note")

    @property
    def notes(self) -> tuple[str, ...]:
        """How its file was read, such as that only the first of several pages is used."""
        return tuple(finding.message for finding in self.findings if finding.kind == "note")

    def with_notes(self, notes: Sequence[str]) -> "Quality":
        """Return the same quality with notes on how the file was read."""
        return replace(self, findings=(*self.findings, *(QualityFinding("note", note) for note in notes)))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says about one image: probabilities in the order of the label set."""

    label_set: LabelSet
    probabilities: tuple[float, ...]
    threshold: float  # on the malignant probability, from the card
    benign_patches: int
    malignant_patches: int

    def __post_init__(self) -> None:
        if len(self.probabilities) != len(self.label_set.classes):
            raise ValueError(f"{len(self.probabilities)} probabilities for {len(self.label_set.classes)} classes")
        if not all(0 <= p <= 1 for p in self.probabilities):
            raise ValueError(f"probabilities must lie in 0..1, got {self.probabilities}")
        if abs(sum(self.probabilities) - 1) > 1e-3:
            raise ValueError(f"probabilities must add up to 1, got {sum(self.probabilities)}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {self.threshold}")
        if self.patches < 1:
            raise ValueError("a prediction needs at least one patch")

    @property
    def patches(self) -> int:
        """Number of patches the probabilities were averaged over."""
        return self.benign_patches + self.malignant_patches

    @property
    def malignant_probability(self) -> float:
        """Sum of the probabilities of the malignant classes."""
        return min(1.0, math.fsum(self.probabilities[i] for i in self.label_set.malignant_indices))

    @property
    def malignancy(self) -> Malignancy:
        """Benign or malignant, by the threshold of the card."""
        return _malignancy(self.malignant_probability, self.threshold)

    @property
    def confidence(self) -> float:
        """The probability of the predicted malignancy."""
        return _confidence(self.malignant_probability, self.threshold)

    @property
    def label(self) -> str:
        """Most probable class among those of the predicted malignancy."""
        side = [i for i, c in enumerate(self.label_set.classes) if self.label_set.malignancy(c) == self.malignancy]
        return self.label_set.classes[max(side, key=lambda i: self.probabilities[i])]


@dataclass(frozen=True, slots=True)
class PooledOpinion:
    """The model's opinion of several images of one patient: the mean of their probabilities."""

    malignant_probability: float
    threshold: float

    @classmethod
    def of(cls, images: Iterable[tuple[float, float]]) -> "PooledOpinion":
        """Pool the malignant probabilities of images with their thresholds; there must be one.

        All have one threshold, unless the site chose another between two of them: then the more sensitive one counts.
        """
        probabilities, thresholds = zip(*images, strict=True)
        return cls(fmean(probabilities), min(thresholds))

    @property
    def malignancy(self) -> Malignancy:
        """Benign or malignant, by the threshold."""
        return _malignancy(self.malignant_probability, self.threshold)

    @property
    def confidence(self) -> float:
        """The probability of the predicted malignancy."""
        return _confidence(self.malignant_probability, self.threshold)


def _malignancy(malignant_probability: float, threshold: float) -> Malignancy:
    return "malignant" if malignant_probability >= threshold else "benign"


def _confidence(malignant_probability: float, threshold: float) -> float:
    return malignant_probability if malignant_probability >= threshold else 1 - malignant_probability


@dataclass(frozen=True, slots=True)
class Scope:
    """How unlike the training images of the network an image is; a larger score is less like them.

    From `limit_unusual` on, the network's opinion is marked; from `limit_out` on, it gives none.
    """

    level: ScopeLevel
    score: float
    limit_unusual: float
    limit_out: float
    reasons: tuple[str, ...] = ()  # in words for the reader

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.score, self.limit_unusual, self.limit_out))):
            raise ValueError(f"score and limits must be numbers, got {self}")
        if not self.limit_unusual <= self.limit_out:
            raise ValueError(f"the limit of unusual, {self.limit_unusual}, is above that of out, {self.limit_out}")
        if self.level != scope_level(self.score, self.limit_unusual, self.limit_out):
            raise ValueError(f"a score of {self.score} is not {self.level!r}")


def scope_level(score: float, limit_unusual: float, limit_out: float) -> ScopeLevel:
    """Return whether a score is in scope, unusual or out of scope."""
    if score >= limit_out:
        return "out"
    return "unusual" if score >= limit_unusual else "in"


@dataclass(frozen=True, slots=True, eq=False)
class JudgedScope:
    """The scope of an image, and the score of each place in its patches: patches x rows x columns."""

    scope: Scope
    places: Evidence


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything the machine says about one image; without a prediction `reason` says why there is none.

    `scope` is None if the checkpoint has no reference of its training images, or the image was not classified.
    """

    height: int
    width: int
    quality: Quality
    prediction: Prediction | None = None
    heatmap: Heatmap | None = field(default=None, compare=False)
    reason: str | None = None
    scope: Scope | None = None
    looks: ScopeLevel | None = None  # the level without regard to the scale, which has no place in `scope_map`
    scope_map: Heatmap | None = field(default=None, compare=False)  # the score of each place, in units of `scope`
    embedding: Embedding | None = field(default=None, compare=False)  # by which similar images are found

    def __post_init__(self) -> None:
        if (self.prediction is None) != (self.reason is not None):
            raise ValueError("an analysis has either a prediction or the reason why there is none")
        if self.withheld and self.prediction is not None:
            raise ValueError("an image that is out of scope gets no prediction")
        for name, drawn in (("heat map", self.heatmap), ("map of the scope", self.scope_map)):
            if drawn is not None and drawn.shape != (self.height, self.width):
                raise ValueError(f"{name} of {drawn.shape} on an image of {(self.height, self.width)}")

    @property
    def withheld(self) -> bool:
        """Whether there is no opinion because the image is unlike the training images."""
        return self.scope is not None and self.scope.level == "out"


@dataclass(frozen=True, slots=True)
class ReadOpinion:
    """What one saved read says about a case, and what the model's opinion on the screen was."""

    label: Malignancy | None  # None: cannot be assessed
    confidence: int | None  # 1 (guess) to 5 (certain)
    seconds: float  # from opening to saving, by the clock of the server
    model: Malignancy | None = None  # None: the model's opinion was not shown
    withheld: bool = False  # shown was that the model gives no opinion, because the images are out of its scope

    def __post_init__(self) -> None:
        if self.withheld and self.model is not None:
            raise ValueError("a model that gives no opinion has no label")
        if (self.label is None) != (self.confidence is None):
            raise ValueError("a label needs a confidence; 'cannot assess' must not have one")
        if self.confidence is not None and not 1 <= self.confidence <= 5:
            raise ValueError(f"confidence must be 1 to 5, got {self.confidence}")


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of one case by one reader: before the reveal, after it, and as it stands now.

    `standing` differs from `final` only where the reader has amended it; both are None until the final read.
    """

    case_id: int
    accession: str
    magnification: str | None
    demonstration: bool  # a generated demo case
    reader: str
    first: ReadOpinion
    final: ReadOpinion | None = None
    standing: ReadOpinion | None = None
    iteration: int = 1  # 2 where the same reader reads the same case again
    vote: Literal["yes", "no", "unsure"] | None = None  # on the heat map, as it stands
    model_version: str | None = None  # whose opinion, or that it gave none, was shown with the standing read
    copies: int = 1  # how many readings of other cases this one stands for, itself included

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"a reading stands for itself at least, got {self.copies} copies")
        if (self.final is None) != (self.standing is None):
            raise ValueError("a reading has both a final and a standing read, or neither")
        if self.iteration < 1:
            raise ValueError(f"iteration must be 1 or more, got {self.iteration}")
        if self.first.model is not None or self.first.withheld:
            raise ValueError("a first read is blind: it cannot carry the model's opinion")
