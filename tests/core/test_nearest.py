"""Short copies of vectors never promise that something is farther away than it is."""

import numpy as np
import pytest

from core.statistics.nearest import AXES, ShortVectors, Vectors, look_nearest_first, nearest_distances


def _vectors(count: int, channels: int, seed: int = 0) -> Vectors:
    """Make vectors of length 1 that mostly differ along a few directions, as those of a network do."""
    chance = np.random.default_rng(seed)
    along = chance.normal(size=(count, 12)) @ chance.normal(size=(12, channels))
    made = 3 + along + 0.3 * chance.normal(size=(count, channels))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return np.asarray(made, np.float32)


@pytest.mark.parametrize("channels", [AXES + 200, AXES, 7])
def test_no_least_distance_is_above_the_true_one(channels: int) -> None:
    vectors, queries = _vectors(500, channels), _vectors(3, channels, seed=1)
    short = ShortVectors(vectors[:80])
    short.add(np.arange(300), vectors[:300])
    short.add(np.arange(300, 500), vectors[300:])
    assert len(short) == 500
    assert short.numbers.tolist() == list(range(500))
    true = nearest_distances(queries, vectors)
    least = short.least_distances(queries)
    assert (least <= true).all()
    assert (least > 0.8 * true).all(), "so close that few have to be compared in full"


def test_one_vector_is_enough_to_begin_and_lies_at_no_distance_from_itself() -> None:
    vectors = _vectors(1, 40)
    short = ShortVectors(vectors)
    short.add(np.array([7]), vectors)
    assert short.least_distances(vectors).tolist() == [0.0]
    assert nearest_distances(vectors, vectors).tolist() == [0.0]


def test_each_look_is_nearer_than_all_that_follow_and_none_is_left_out() -> None:
    least = np.random.default_rng(0).random(1000, dtype=np.float32)
    looks = list(look_nearest_first(least, first=3, largest=200))
    assert sorted(np.concatenate([batch for batch, _ in looks]).tolist()) == list(range(1000))
    assert all(least[batch].max() <= beyond for batch, beyond in looks)
    assert [len(batch) for batch, _ in looks[:5]] == [3, 12, 48, 192, 200]
    assert looks[-1][1] == np.inf
