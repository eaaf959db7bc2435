"""Finds the signed-off cases that are most like a case, among all that a network has seen at this site.

The server keeps a short copy of every embedding of the networks in use, about half a kilobyte each; rows are never
changed, so that only new ones are read. What may be shown is asked of the store each time.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from core.statistics.nearest import ShortVectors, Vectors, look_nearest_first, nearest_distances
from db import store
from db.database import Sessions
from db.values.similar_cases import ComparableImage, SimilarCase, SimilarCases, StoredEmbedding

MOST_CASES = 5
_AT_ONCE = 5000  # embeddings read at once
_REFIT = 4  # times as many images as the directions were fitted to
_KEPT_NETWORKS = 2  # in memory


@dataclass(slots=True)
class _Space:
    """What is kept of the embeddings of one network, up to the row `last`."""

    vectors: ShortVectors
    last: int = 0


@dataclass(frozen=True, slots=True)
class _Nearest:
    image: ComparableImage
    distance: float


@dataclass(frozen=True, eq=False)
class SimilarCaseFinder:
    """Finds similar cases for all readers of one server."""

    sessions: Sessions
    _spaces: dict[str, _Space] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, case_id: int, account_id: int) -> SimilarCases:
        """Return the signed-off cases nearest to the images of a case, as far as this reader may see them.

        Raises:
            NotAllowedError: If this account may not see cases.
            UnknownCaseError: If there is no such case.
            InStudyError: If this reader must read it in a study.
            NotRevealedError: If this reader has not saved a first read of the case.
        """
        with self.sessions.read() as session:
            own = store.similar_cases.case_embeddings(session, case_id, account_id)
            if own is None:
                return SimilarCases()
            if not own.images:
                has_others = store.similar_cases.count_embeddings(session, own.network) > 0
                return SimilarCases(lacks_embeddings=has_others)
            queries = _read_vectors(own.images)
            numbers, least = self._least_distances(session, own.network, queries)
            nearest = _find_nearest(session, case_id, account_id, queries, numbers, least)
        cases = tuple(
            SimilarCase(one.image.image_id, one.image.label, one.image.subtype, one.image.magnification, one.distance)
            for one in nearest
        )
        return SimilarCases(cases, float(np.median(least)))

    def _least_distances(
        self, session: Session, network: str, queries: Vectors
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the numbers of all embeddings of a network, and for each a distance that is not above its own."""
        with self._lock:
            space = self._up_to_date(session, network)
            # Copies: another thread may add to the space.
            return space.vectors.numbers.copy(), space.vectors.least_distances(queries)

    def _up_to_date(self, session: Session, network: str) -> _Space:
        space = self._spaces.pop(network, None)
        if space is None or (_add_new(session, network, space) and _is_outdated(session, network, space)):
            first = store.similar_cases.embeddings_after(session, network, 0, _AT_ONCE)
            space = _Space(ShortVectors(_read_vectors(first)))
            _add_new(session, network, space)
        self._spaces[network] = space  # the last one used is the last one here
        while len(self._spaces) > _KEPT_NETWORKS:
            del self._spaces[next(iter(self._spaces))]
        return space


def _add_new(session: Session, network: str, space: _Space) -> bool:
    """Add what was stored meanwhile; return whether there was something."""
    before = space.last
    while rows := store.similar_cases.embeddings_after(session, network, space.last, _AT_ONCE):
        space.vectors.add(np.array([one.id for one in rows]), _read_vectors(rows))
        space.last = rows[-1].id
    return space.last > before


def _is_outdated(session: Session, network: str, space: _Space) -> bool:
    """Return whether the directions were fitted to too few images, or a row was committed after one with a later id."""
    vectors = space.vectors
    if vectors.fitted_to < _AT_ONCE and len(vectors) >= _REFIT * vectors.fitted_to:
        return True
    return store.similar_cases.count_embeddings(session, network) > len(vectors)


def _find_nearest(
    session: Session,
    case_id: int,
    account_id: int,
    queries: Vectors,
    numbers: NDArray[np.int64],
    least: NDArray[np.float32],
) -> list[_Nearest]:
    """Compare in full what is nearest in short, until nothing nearer can follow; return one image of each case."""
    found: dict[int, _Nearest] = {}
    nearest: list[_Nearest] = []
    for batch, beyond in look_nearest_first(least):
        images = store.similar_cases.comparable_images(session, case_id, account_id, numbers[batch].tolist())
        _keep_nearest(found, queries, images)
        nearest = sorted(found.values(), key=lambda one: (one.distance, one.image.image_id))[:MOST_CASES]
        if len(nearest) == MOST_CASES and nearest[-1].distance <= beyond:
            break
    return nearest


def _keep_nearest(found: dict[int, _Nearest], queries: Vectors, images: Collection[ComparableImage]) -> None:
    """Keep the nearest image of each case."""
    if not images:
        return
    distances = nearest_distances(queries, _read_vectors([image.embedding for image in images]))
    for image, distance in zip(images, distances.tolist(), strict=True):
        best = found.get(image.case_id)
        if best is None or distance < best.distance:
            found[image.case_id] = _Nearest(image, distance)


def _read_vectors(embeddings: Collection[StoredEmbedding]) -> Vectors:
    joined = b"".join(one.embedding for one in embeddings)
    return np.frombuffer(joined, "<f2").reshape(len(embeddings), -1).astype(np.float32)
