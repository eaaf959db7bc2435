"""What a checkpoint keeps of its training images, and the score of an image against it.

Each layer of the network is described by the means and spreads of its channels. Their distribution over the training
images is a Gaussian in the main directions and one variance for all others (Tipping and Bishop, "Probabilistic
principal component analysis", 1999), and the distance of an image is that of Mahalanobis. Shallow layers see stain,
camera and sharpness, deeper ones structures. Two more are checked beside it: the range of simple measures of the
image, and the distribution of what its recording left in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from core.imaging.quality import is_like_he
from core.results import JudgedScope, PatchFeatures, RgbImage, Scope, scope_level
from core.scope.appearance import MEASURES, measure_appearance
from core.scope.recording import RECORDING_MEASURES, measure_recording

Values = NDArray[np.float64]
Arrays = Mapping[str, NDArray[np.float32]]

LARGEST_SCORE = 1e6
_SMALLEST_SPREAD = 1e-3  # of a channel within a patch, before the logarithm
_MOST_DEVIATIONS = 8.0  # of one channel; further away, a single channel would be the whole distance
_MOST_REASONS = 3
_RECORDING = "recording"  # begins the names of its arrays
_NOT_HE = "it does not look stained with H&E"
_RECORDED = "its camera, compression or resizing differs from that of the training images"
_TOO_SMALL = "it is too small to assess its camera, compression and resizing"
_TEXTURE = "its colours and fine texture are unlike those of the training images"
_PATTERN = "its texture is unlike that of the training images"
_STRUCTURE = "its structure is unlike that of the training images"


class UnusableReferenceError(ValueError):
    """Arrays that are no reference of training images; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class DescriptionSpace:
    """The distribution of a description over the training images or their places.

    A layer is described by 2 x channels numbers, a recording by its measures.

    `unit` is the distance that counts as 1: the limit of what is in scope.
    """

    mean: Values
    scale: Values
    axes: Values  # components x description
    variances: Values  # of the components
    rest: float  # the variance in each other direction
    unit: float = 1.0

    def distances(self, described: Values) -> Values:
        """Return the distance of each row, in units."""
        scaled = np.clip((described - self.mean) / self.scale, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)
        components = scaled @ self.axes.T
        outside = np.maximum((scaled**2).sum(axis=1) - (components**2).sum(axis=1), 0) / self.rest
        return np.asarray(np.sqrt((components**2 / self.variances).sum(axis=1) + outside) / self.unit)

    def with_unit(self, unit: float) -> "DescriptionSpace":
        """Return the same space with another distance that counts as 1."""
        return replace(self, unit=unit)


@dataclass(frozen=True, slots=True, eq=False)
class MeasureRange:
    """The range of the simple measures over the training images; `unit` as for a layer, in halves of the range."""

    low: Values
    high: Values
    unit: float = 1.0

    def distances(self, measures: Values) -> Values:
        """Return how far each measure is from the middle of its range; negative below it."""
        middle, half = (self.low + self.high) / 2, np.maximum(self.high - self.low, 1e-6) / 2
        return np.asarray((measures - middle) / half / self.unit)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingReference:
    """What is kept of the training images: a space for each layer, one for its places, and the range of measures.

    `recording` is None if they were too small to measure how they were recorded.
    """

    layers: tuple[DescriptionSpace, ...]
    places: tuple[DescriptionSpace, ...]
    measures: MeasureRange
    recording: DescriptionSpace | None = None
    limit_unusual: float = 1.0
    limit_out: float = 1.0

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of channels of each layer."""
        return tuple(len(layer.mean) // 2 for layer in self.layers)

    def judge(self, recorded: RgbImage, image: RgbImage, features: PatchFeatures) -> JudgedScope:
        """Judge an image as it was recorded, and at the working scale in its own colours with its patches' features."""
        measured = measure_appearance(image)
        measures = self.measures.distances(measured)
        by_layer = self.layer_distances(features)
        recording = 0.0 if self.recording is None else self.recording_distance(measure_recording(recorded))
        score = bounded_score(float(np.max([*np.abs(measures), *by_layer, recording or 0])))
        reasons = self._reasons(by_layer, measures, recording or 0)
        if recording is None:
            score, reasons = max(score, self.limit_unusual), (*reasons, _TOO_SMALL)
        if not is_like_he(*measured[:2]):
            score, reasons = max(score, self.limit_out), (_NOT_HE, *reasons)
        level = scope_level(score, self.limit_unusual, self.limit_out)
        scope = Scope(level, score, self.limit_unusual, self.limit_out, reasons)
        return JudgedScope(scope, self.place_distances(features).max(axis=0).astype(np.float32))

    def layer_distances(self, features: PatchFeatures) -> Values:
        """Return the distance of an image in each layer."""
        described = describe_image(features, self.widths)
        return np.array([space.distances(one[None])[0] for space, one in zip(self.layers, described, strict=True)])

    def recording_distance(self, measured: Values | None) -> float | None:
        """Return the distance of how an image was recorded; None if that could not be measured."""
        if self.recording is None:
            return 0.0
        return None if measured is None else float(self.recording.distances(measured[None])[0])

    def place_distances(self, features: PatchFeatures) -> Values:
        """Return the distance of each place in each layer: layers x patches x rows x columns."""
        places = features.reshape(-1, features.shape[-1])
        described = describe_places(places, self.widths)
        by_layer = [space.distances(one) for space, one in zip(self.places, described, strict=True)]
        return np.minimum(np.nan_to_num(np.stack(by_layer), nan=LARGEST_SCORE), LARGEST_SCORE).reshape(
            len(self.places), *features.shape[:-1]
        )

    def _reasons(self, by_layer: Values, measures: Values, recording: float) -> tuple[str, ...]:
        """Return what is unlike the training images, the most unlike first."""
        words = [_word_layer(number, len(by_layer)) for number in range(len(by_layer))]
        said = list(zip(by_layer, words, strict=True))
        said += [(abs(far), MEASURES[n][int(far > 0)]) for n, far in enumerate(measures)]
        said.append((recording, _RECORDED))
        said.sort(key=lambda one: -one[0])
        return tuple(text for far, text in said[:_MOST_REASONS] if not far < self.limit_unusual)

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays that a checkpoint stores."""
        arrays: dict[str, Values] = {"measures": np.stack([self.measures.low, self.measures.high])}
        arrays["limits"] = np.array([self.measures.unit, self.limit_unusual, self.limit_out])
        for name, space in self._spaces():
            arrays[f"{name}.channels"] = np.stack([space.mean, space.scale])
            arrays[f"{name}.axes"] = space.axes
            arrays[f"{name}.variances"] = np.array([space.unit, space.rest, *space.variances])
        return {name: np.ascontiguousarray(values, np.float32) for name, values in arrays.items()}

    def _spaces(self) -> Iterator[tuple[str, DescriptionSpace]]:
        """Yield the spaces with the names of their arrays."""
        for kind, spaces in (("layer", self.layers), ("place", self.places)):
            yield from ((f"{kind}.{number}", space) for number, space in enumerate(spaces))
        if self.recording is not None:
            yield _RECORDING, self.recording

    @classmethod
    def from_arrays(cls, arrays: Arrays, widths: Sequence[int]) -> "TrainingReference":
        """Read the arrays of a checkpoint whose layers have these numbers of channels; its first ones may be compared.

        Raises:
            UnusableReferenceError: If one is missing, has another shape, or contains values that are not valid numbers.
        """
        widths = widths[: sum(name.startswith("layer.") and name.endswith(".axes") for name in arrays)] or widths
        expected = _shapes(arrays, widths)
        if missing := sorted(expected.keys() ^ arrays.keys()):
            raise UnusableReferenceError(f"{missing[0]} is missing, or one too many")
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise UnusableReferenceError(f"{name} is {arrays[name].shape}, but must be {shape}")
            if not np.isfinite(arrays[name]).all() or np.abs(arrays[name]).max() > LARGEST_SCORE:
                raise UnusableReferenceError(f"{name} contains values that are not valid numbers")
        unit, unusual, out = (float(value) for value in arrays["limits"])
        low, high = arrays["measures"].astype(np.float64)
        layers, places = (
            tuple(_read_space(arrays, f"{kind}.{number}") for number in range(len(widths)))
            for kind in ("layer", "place")
        )
        if not (0 < unusual <= out and unit > 0 and (low <= high).all()):
            raise UnusableReferenceError("its limits contradict each other")
        recording = _read_space(arrays, _RECORDING) if _holds_recording(arrays) else None
        return cls(layers, places, MeasureRange(low, high, unit), recording, unusual, out)


def describe_image(features: PatchFeatures, widths: Sequence[int]) -> list[Values]:
    """Return for each layer the mean of every channel and the logarithm of its spread within a patch."""
    described = []
    for means, squares in _split(features.astype(np.float64), widths):
        of_patches, squares_of_patches = means.mean(axis=(1, 2)), squares.mean(axis=(1, 2))
        spread = np.sqrt(np.maximum(squares_of_patches - of_patches**2, 0)).mean(axis=0)
        described.append(np.concatenate([of_patches.mean(axis=0), np.log(spread + _SMALLEST_SPREAD)]))
    return described


def describe_places(places: NDArray[np.floating], widths: Sequence[int]) -> list[Values]:
    """Return the same of single places (places x features): one row for each place."""
    return [
        np.concatenate([means, np.log(np.sqrt(np.maximum(squares - means**2, 0)) + _SMALLEST_SPREAD)], axis=1)
        for means, squares in _split(places.astype(np.float64), widths)
    ]


def bounded_score(score: float) -> float:
    """Return a score that is a number; whatever is none is as far away as can be."""
    return LARGEST_SCORE if np.isnan(score) else float(np.clip(score, 0, LARGEST_SCORE))


def _split(features: Values, widths: Sequence[int]) -> list[tuple[Values, Values]]:
    """Return the means and the mean squares of each layer; they come one after the other, before those of others."""
    ends = list(accumulate(2 * width for width in widths))
    if features.shape[-1] < ends[-1]:
        raise ValueError(f"{features.shape[-1]} features for layers of {widths} channels")
    return [
        (features[..., end - 2 * width : end - width], features[..., end - width : end])
        for end, width in zip(ends, widths, strict=True)
    ]


def _word_layer(number: int, layers: int) -> str:
    if number == layers - 1:
        return _STRUCTURE
    return _TEXTURE if number == 0 else _PATTERN


def _shapes(arrays: Arrays, widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"measures": (2, len(MEASURES)), "limits": (3,)}
    lengths = {f"{kind}.{number}": 2 * width for kind in ("layer", "place") for number, width in enumerate(widths)}
    if _holds_recording(arrays):
        lengths[_RECORDING] = RECORDING_MEASURES
    for name, length in lengths.items():
        axes = arrays.get(f"{name}.axes")
        components = len(axes) if axes is not None and axes.ndim else 0
        shapes[f"{name}.channels"] = (2, length)
        shapes[f"{name}.axes"] = (components, length)
        shapes[f"{name}.variances"] = (2 + components,)
    return shapes


def _holds_recording(arrays: Arrays) -> bool:
    """Return whether the reference knows how its images were recorded; those of before did not."""
    return any(name.startswith(f"{_RECORDING}.") for name in arrays)


def _read_space(arrays: Arrays, name: str) -> DescriptionSpace:
    mean, scale = arrays[f"{name}.channels"].astype(np.float64)
    unit, rest, *variances = (float(value) for value in arrays[f"{name}.variances"])
    if not (unit > 0 and rest > 0 and min(variances, default=1.0) > 0 and (scale > 0).all()):
        raise UnusableReferenceError(f"{name} has a spread that is not above 0")
    return DescriptionSpace(mean, scale, arrays[f"{name}.axes"].astype(np.float64), np.array(variances), rest, unit)
