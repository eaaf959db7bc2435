"""Time the search for similar images among as many as a large site has."""

import numpy as np
from numpy.typing import NDArray

from core.statistics.nearest import ShortVectors, Vectors, look_nearest_first, nearest_distances
from training.benchmark.timing import Ratio, ratio, seconds_of, time_in_pairs

_IMAGES, _CHANNELS = 100_000, 1280
_FACTORS = 60  # directions in which the images differ most
_WANTED = 5

Stored = NDArray[np.float16]  # images x channels


def similar_images(rounds: int) -> list[Ratio]:
    """Time the exact search for the nearest of 100,000 images against comparing all of their channels."""
    chance = np.random.default_rng(0)
    factors = (chance.normal(size=(_FACTORS, _CHANNELS)) / np.arange(1, _FACTORS + 1)[:, None]).astype(np.float32)
    stored = np.concatenate([_draw(chance, factors, _IMAGES // 20) for _ in range(20)])
    short = ShortVectors(stored[:5000].astype(np.float32))
    for start in range(0, _IMAGES, 5000):
        short.add(np.arange(start, start + 5000), stored[start : start + 5000].astype(np.float32))
    whole = stored.astype(np.float32)
    query = whole[chance.choice(_IMAGES)][None]
    same = np.array_equal(_search_all(whole, query), _search(short, stored, query))
    ours = [seconds_of(lambda: _search(short, stored, query)) for _ in range(4 * rounds)]
    peer = time_in_pairs(lambda: _search_all(whole, query), lambda: _search(short, stored, query), 4 * rounds)
    found = "the same images" if same else "OTHER IMAGES"
    return [
        ratio("search of 100,000 images, seconds", "<= 0.05", ours, f"{_CHANNELS} channels; {found}"),
        ratio("the same against comparing all channels in numpy", ">= 2", peer, "51 MB instead of 512"),
    ]


def _draw(chance: np.random.Generator, factors: Vectors, count: int) -> Stored:
    """Draw vectors of length 1 that differ as those of a network do: much along few directions, and a little in all."""
    along = chance.normal(size=(count, len(factors))).astype(np.float32) @ factors
    drawn: Vectors = 2 + along + 0.05 * chance.normal(size=along.shape).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn.astype(np.float16)


def _search(short: ShortVectors, stored: Stored, query: Vectors) -> list[int]:
    distances = np.empty(0, np.float32)
    places = np.empty(0, np.intp)
    for batch, beyond in look_nearest_first(short.least_distances(query)):
        distances = np.concatenate([distances, nearest_distances(query, stored[batch].astype(np.float32))])
        places = np.concatenate([places, batch])
        order = distances.argsort()[:_WANTED]
        if distances[order[-1]] <= beyond:
            break
    nearest: list[int] = places[order].tolist()
    return nearest


def _search_all(whole: Vectors, query: Vectors) -> list[int]:
    products = whole @ query[0]
    first = np.argpartition(-products, _WANTED)[:_WANTED]
    nearest: list[int] = first[np.argsort(-products[first])].tolist()
    return nearest
