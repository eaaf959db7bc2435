"""Find the nearest of many vectors exactly, without comparing all of their coordinates.

Of each vector a short copy is kept: its coordinates along the main directions of the first vectors, and the length of
what is left. Two short copies are never farther apart than the vectors themselves, so whatever lies farther away in
short than the best that were compared in full cannot be nearer.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

AXES = 128
_FITTED_TO = 1000  # vectors, which decide the directions
_FIRST_LOOK, _LARGEST_LOOK = 64, 4096  # vectors compared in full at once
_ROUNDING = 1e-5  # of a squared distance between short copies

Vectors = NDArray[np.float32]  # vectors x channels
Distances = NDArray[np.float32]


class ShortVectors:
    """Short copies of vectors with their numbers, in the order in which they were added; not safe between threads."""

    def __init__(self, first: Vectors) -> None:
        """Choose the directions by the first vectors, of which there must be one; they are not added."""
        sample = first[:: max(1, len(first) // _FITTED_TO)]
        self._mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._axes = np.linalg.svd(sample - self._mean, full_matrices=False)[2][:AXES]
        self.fitted_to = len(first)
        self._count = 0
        self._numbers = np.empty(0, np.int64)
        self._short = np.empty((0, len(self._axes) + 1), np.float32)
        self._squares = np.empty(0, np.float32)

    def __len__(self) -> int:
        """Return the number of vectors that were added."""
        return self._count

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The numbers of the vectors."""
        return self._numbers[: self._count]

    def add(self, numbers: NDArray[np.int64], vectors: Vectors) -> None:
        """Add vectors by their numbers."""
        end = self._count + len(numbers)
        if end > len(self._numbers):
            self._grow(max(end, 2 * len(self._numbers)))
        short = self._shorten(vectors)
        self._numbers[self._count : end] = numbers
        self._short[self._count : end] = short
        self._squares[self._count : end] = np.einsum("ij,ij->i", short, short)
        self._count = end

    def least_distances(self, queries: Vectors) -> Distances:
        """Return for each vector a distance to the nearest query that is not above the true one."""
        short = self._shorten(queries)
        products = self._short[: self._count] @ short.T
        squares = (short * short).sum(axis=1) - 2 * products
        nearest: Distances = self._squares[: self._count] + squares.min(axis=1)
        least: Distances = np.sqrt(np.maximum(nearest - np.float32(_ROUNDING), 0))
        return least

    def _shorten(self, vectors: Vectors) -> Vectors:
        centred = vectors - self._mean
        along = centred @ self._axes.T
        left = np.einsum("ij,ij->i", centred, centred) - np.einsum("ij,ij->i", along, along)
        return np.concatenate([along, np.sqrt(np.maximum(left, 0))[:, None]], axis=1)

    def _grow(self, size: int) -> None:
        more = size - len(self._numbers)
        self._numbers = np.concatenate([self._numbers, np.empty(more, np.int64)])
        self._short = np.concatenate([self._short, np.empty((more, self._short.shape[1]), np.float32)])
        self._squares = np.concatenate([self._squares, np.empty(more, np.float32)])


def nearest_distances(queries: Vectors, vectors: Vectors) -> Distances:
    """Return the distance of each vector to its nearest query."""
    apart = [np.linalg.norm(vectors - query, axis=1) for query in queries]
    nearest: Distances = np.min(apart, axis=0)
    return nearest


def look_nearest_first(
    least: Distances, first: int = _FIRST_LOOK, largest: int = _LARGEST_LOOK
) -> Iterator[tuple[NDArray[np.intp], float]]:
    """Yield places of vectors to compare in full, and the least distance of all that would come after them.

    Once enough vectors are nearer than that, nothing that follows can be nearer. Each look is larger than the one
    before, because so far too few were of use.
    """
    rest = np.arange(len(least))
    look = first
    while len(rest) > look:
        order = np.argpartition(least[rest], look)
        batch, rest = rest[order[:look]], rest[order[look:]]
        yield batch, float(least[rest].min())
        look = min(largest, 4 * look)
    yield rest, np.inf
