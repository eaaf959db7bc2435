"""The images of one patient in one of two sets, as the unit that is permuted, dealt and resampled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Units:
    """The units of two sets: whose and of which set each is, and to which one every image belongs."""

    persons: NDArray[np.str_]
    of_source: NDArray[np.bool_]
    place: NDArray[np.int64]  # of every image, source first

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average what was measured of every image within each unit."""
        return np.asarray(np.bincount(self.place, weights=values) / np.bincount(self.place))

    def exchanged(self, rounds: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Deal the units anew to the sets, rounds x units, as chance could have if the sets did not differ.

        A person in both sets keeps one unit in each, and chance decides which; all others are permuted among
        each other. Permuting everybody would take how much people differ for how much the sets may.
        """
        first, second = self._pairs()
        alone = np.setdiff1d(np.arange(len(self.persons)), np.concatenate([first, second]))
        drawn = np.tile(self.of_source, (rounds, 1))
        swapped = rng.random((rounds, len(first))) < 0.5
        drawn[:, first], drawn[:, second] = ~swapped, swapped
        drawn[:, alone] = rng.permuted(drawn[:, alone], axis=1)
        return drawn

    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the source's and the target's unit of every person who has both."""
        source, target = np.flatnonzero(self.of_source), np.flatnonzero(~self.of_source)
        _, first, second = np.intersect1d(self.persons[source], self.persons[target], return_indices=True)
        return source[first], target[second]


def units_of(source: NDArray[np.str_], target: NDArray[np.str_]) -> Units:
    """Make the units of two sets from the patient of every image; the same patient_id is the same person."""
    first, first_place = np.unique(source, return_inverse=True)
    second, second_place = np.unique(target, return_inverse=True)
    of_source = np.arange(len(first) + len(second)) < len(first)
    return Units(np.concatenate([first, second]), of_source, np.concatenate([first_place, second_place + len(first)]))
