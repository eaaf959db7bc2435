"""Draw the images of an epoch in one of six ways, from a generator of that epoch alone."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.fitting.config import Sampling

Places = NDArray[np.int64]  # positions in the list of training images

# Every random draw of a run has a generator of its own, seeded by its purpose (the stream) and its position in the run,
# so that resuming a run needs no stored random state. Trailing zeros of such a seed are ignored by NumPy: the seeds of
# one stream therefore have equal lengths, and each starts with the seed of the run and the stream.
DRAWS: Final = 1
PATCHES: Final = 2
COPIES: Final = 3
TORCH: Final = 4
TARGETS: Final = 5
DISTILLATION: Final = 6


def make_generator(seed: int, stream: int, *place: int) -> np.random.Generator:
    """Return the generator for one position in a run."""
    return np.random.default_rng([seed, stream, *place])


class EpochDraws:
    """The images of a run by class and patient, from which the batches of any epoch are drawn."""

    def __init__(self, labels: Places, patient_ids: Sequence[str], sampling: Sampling, size: int) -> None:
        """Group the images by class and patient.

        Raises:
            ValueError: If all images belong to one class.
        """
        present = np.unique(labels)
        if len(present) < 2:
            raise ValueError("training needs images of at least two classes")
        self._sampling = sampling
        self._size = size
        self._classes = [np.flatnonzero(labels == label) for label in present]
        self._patients = [_group_by_patient(rows, patient_ids) for rows in self._classes]

    def batches(self, rng: np.random.Generator) -> list[Places]:
        """Return the batches of one epoch; their sizes differ by at most one image, so there is no small remainder."""
        if self._sampling.kind == "patients":
            drawn = self._draw_by_patient(self._sampling.batches * self._size, rng)
            return np.split(drawn, self._sampling.batches)
        if not self._sampling.batches:
            order = self._draw_pass(rng)
            return np.array_split(order, math.ceil(len(order) / self._size))
        needed = self._sampling.batches * self._size
        order = self._draw_pass(rng)
        while len(order) < needed:
            order = np.concatenate([order, self._draw_pass(rng)])
        return np.split(order[:needed], self._sampling.batches)

    def _draw_by_patient(self, count: int, rng: np.random.Generator) -> Places:
        """Draw `count` images: classes in rotation, a random patient of the class, and a random image of the patient.

        A patient with sixteen images has the same weight as one with a single image.
        """
        patients_by_image = [self._patients[place % len(self._patients)] for place in range(count)]
        images_of_patient = [patients[rng.integers(len(patients))] for patients in patients_by_image]
        return np.array([rows[rng.integers(len(rows))] for rows in images_of_patient], dtype=np.int64)

    def _draw_pass(self, rng: np.random.Generator) -> Places:
        """Return one pass over the images in random order."""
        sizes = sorted(len(rows) for rows in self._classes)
        match self._sampling.kind:
            case "weighted":
                classes = rng.integers(len(self._classes), size=sum(sizes))
                rows_of_batch = [self._classes[c][rng.integers(len(self._classes[c]))] for c in classes]
                return np.array(rows_of_batch, dtype=np.int64)
            case "undersampled":
                rows_by_class = [rng.choice(rows, sizes[0], replace=False) for rows in self._classes]
            case "second":
                rows_by_class = [rng.choice(rows, min(len(rows), sizes[-2]), replace=False) for rows in self._classes]
            case "oversampled":
                rows_by_class = [_repeat(rows, sizes[-1], rng) for rows in self._classes]
            case _:
                rows_by_class = self._classes
        return rng.permutation(np.concatenate(rows_by_class))


def _group_by_patient(rows: Places, patient_ids: Sequence[str]) -> list[Places]:
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(patient_ids[row], []).append(int(row))
    return [np.array(groups[patient], dtype=np.int64) for patient in sorted(groups)]


def _repeat(rows: Places, count: int, rng: np.random.Generator) -> Places:
    """Repeat every image equally often, except for a random remainder, to `count` images."""
    whole, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, whole), rng.choice(rows, rest, replace=False)])
