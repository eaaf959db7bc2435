"""Draws which images make an epoch, in any of six ways, from a generator that belongs to that epoch alone."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.fitting.config import Sampling

Places = NDArray[np.int64]  # positions in the list of training images

# Every random draw of a run comes from a generator of its own, named by what it is for and where in the run it is,
# so that nothing has to be remembered to go on after a stop. Zeros at the end of a name would not count: the names
# of one stream are equally long, and each begins with the seed and the stream.
DRAWS: Final = 1
PATCHES: Final = 2
COPIES: Final = 3
TORCH: Final = 4
TARGETS: Final = 5


def generator(seed: int, stream: int, *place: int) -> np.random.Generator:
    """Make the generator of one place in a run."""
    return np.random.default_rng([seed, stream, *place])


class EpochDraws:
    """The images of a run by class and patient, and the batches of any of its epochs."""

    def __init__(self, labels: Places, patient_ids: Sequence[str], sampling: Sampling, size: int) -> None:
        """Sort the images.

        Raises:
            ValueError: If they are all of one class.
        """
        present = np.unique(labels)
        if len(present) < 2:
            raise ValueError("training needs images of at least two classes")
        self._sampling = sampling
        self._size = size
        self._classes = [np.flatnonzero(labels == label) for label in present]
        self._patients = [_by_patient(rows, patient_ids) for rows in self._classes]

    def batches(self, rng: np.random.Generator) -> list[Places]:
        """Draw one epoch; its batches differ in size by one image at most, so none is a remnant."""
        if self._sampling.kind == "patients":
            drawn = self._by_patients(self._sampling.batches * self._size, rng)
            return np.split(drawn, self._sampling.batches)
        if not self._sampling.batches:
            order = self._order(rng)
            return np.array_split(order, math.ceil(len(order) / self._size))
        needed = self._sampling.batches * self._size
        order = self._order(rng)
        while len(order) < needed:
            order = np.concatenate([order, self._order(rng)])
        return np.split(order[:needed], self._sampling.batches)

    def _by_patients(self, count: int, rng: np.random.Generator) -> Places:
        """Take the classes in turn, of each a patient, and one of the patient's images.

        A patient with sixteen images weighs no more than one with a single image.
        """
        turns = [self._patients[place % len(self._patients)] for place in range(count)]
        chosen = [patients[rng.integers(len(patients))] for patients in turns]
        return np.array([rows[rng.integers(len(rows))] for rows in chosen], dtype=np.int64)

    def _order(self, rng: np.random.Generator) -> Places:
        """Draw images in the order they are shown, as many as make one pass."""
        sizes = sorted(len(rows) for rows in self._classes)
        match self._sampling.kind:
            case "weighted":
                classes = rng.integers(len(self._classes), size=sum(sizes))
                drawn = [self._classes[c][rng.integers(len(self._classes[c]))] for c in classes]
                return np.array(drawn, dtype=np.int64)
            case "undersampled":
                chosen = [rng.choice(rows, sizes[0], replace=False) for rows in self._classes]
            case "second":
                chosen = [rng.choice(rows, min(len(rows), sizes[-2]), replace=False) for rows in self._classes]
            case "oversampled":
                chosen = [_repeated(rows, sizes[-1], rng) for rows in self._classes]
            case _:
                chosen = self._classes
        return rng.permutation(np.concatenate(chosen))


def _by_patient(rows: Places, patient_ids: Sequence[str]) -> list[Places]:
    of: dict[str, list[int]] = {}
    for row in rows:
        of.setdefault(patient_ids[row], []).append(int(row))
    return [np.array(of[patient], dtype=np.int64) for patient in sorted(of)]


def _repeated(rows: Places, count: int, rng: np.random.Generator) -> Places:
    """Show every image equally often, but for a remainder that chance picks."""
    whole, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, whole), rng.choice(rows, rest, replace=False)])
