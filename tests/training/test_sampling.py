from collections import Counter

import numpy as np
import pytest

from core.data.datasets import LabelledImage
from core.fitting.config import Sampling
from core.fitting.sampling import DRAWS, PATCHES, EpochDraws, Places, make_generator
from core.labels import BREAKHIS
from tests.helpers.runs.fits import images_of

# Forty of one class, ten and five of others, by patients of very different industry.
MADE = images_of(
    {
        ("1", "adenosis"): 1,
        ("2", "adenosis"): 39,
        ("3", "ductal_carcinoma"): 10,
        ("4", "mucinous_carcinoma"): 2,
        ("5", "mucinous_carcinoma"): 3,
    }
)


def draws_of(kind: str, batches: int = 0, images: list[LabelledImage] = MADE, size: int = 8) -> EpochDraws:
    labels = np.array([image.class_in(BREAKHIS) for image in images], dtype=np.int64)
    sampling = Sampling(kind, batches)  # type: ignore[arg-type]
    return EpochDraws(labels, [image.patient_id for image in images], sampling, size)


def epoch_of(kind: str, batches: int = 0, seed: int = 0) -> list[Places]:
    return draws_of(kind, batches).batches(make_generator(seed, DRAWS, 1, 1))


def shown(kind: str, batches: int = 0) -> Counter[str]:
    return Counter(MADE[place].label for batch in epoch_of(kind, batches) for place in batch)


def test_shuffled_shows_every_image_once_in_batches_that_differ_by_one_image_at_most() -> None:
    batches = epoch_of("shuffled")
    assert sorted(np.concatenate(batches)) == list(range(55))
    assert {len(batch) for batch in batches} == {7, 8}
    assert len(batches) == 7


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("shuffled", (40, 10, 5)),
        ("undersampled", (5, 5, 5)),
        ("second", (10, 10, 5)),
        ("oversampled", (40, 40, 40)),
    ],
)
def test_the_classes_are_shown_as_often_as_the_kind_says(kind: str, counts: tuple[int, int, int]) -> None:
    found = shown(kind)
    assert tuple(found[label] for label in ("adenosis", "ductal_carcinoma", "mucinous_carcinoma")) == counts


def test_oversampling_repeats_every_image_of_a_class_equally_often() -> None:
    times = Counter(int(place) for batch in epoch_of("oversampled") for place in batch)
    assert {times[place] for place in range(40, 50)} == {4}
    assert {times[place] for place in range(50, 55)} == {8}
    assert {times[place] for place in range(40)} == {1}


def test_undersampling_leaves_out_other_images_every_epoch() -> None:
    draws = draws_of("undersampled")
    seen = [set(np.concatenate(draws.batches(make_generator(0, DRAWS, 1, epoch)))) for epoch in (1, 2)]
    assert seen[0] != seen[1]


def test_weighted_draws_as_many_as_there_are_with_every_class_alike() -> None:
    found: Counter[str] = Counter()
    draws = draws_of("weighted")
    for epoch in range(60):
        batches = draws.batches(make_generator(0, DRAWS, 1, epoch))
        assert sum(len(batch) for batch in batches) == 55
        found.update(MADE[place].label for batch in batches for place in batch)
    assert all(abs(count - 1100) < 120 for count in found.values())


def test_patients_are_drawn_evenly_within_their_class_however_many_images_they_have() -> None:
    found = Counter(MADE[place].patient_id for batch in epoch_of("patients", 300) for place in batch)
    assert [sum(found[p] for p in patients) for patients in ("12", "3", "45")] == [800, 800, 800]
    assert abs(found["1"] - 400) < 80
    assert abs(found["4"] - 400) < 80


def test_every_class_has_its_turn_even_if_a_batch_is_smaller_than_their_number() -> None:
    draws = draws_of("patients", 3, size=2)
    found = Counter(MADE[place].label for batch in draws.batches(make_generator(0, DRAWS, 1, 1)) for place in batch)
    assert set(found.values()) == {2}


@pytest.mark.parametrize("kind", ["shuffled", "weighted", "undersampled", "second", "oversampled", "patients"])
@pytest.mark.parametrize("batches", [1, 20])
def test_an_epoch_is_as_long_as_it_is_asked_to_be_and_the_same_when_drawn_again(kind: str, batches: int) -> None:
    epoch = epoch_of(kind, batches)
    assert [len(batch) for batch in epoch] == [8] * batches
    assert all(np.array_equal(one, other) for one, other in zip(epoch, epoch_of(kind, batches), strict=True))
    assert not np.array_equal(epoch[0], epoch_of(kind, batches, seed=1)[0])


def test_images_of_a_single_class_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        draws_of("shuffled", images=MADE[:40])


def test_generators_of_two_streams_or_places_differ() -> None:
    keys = [(0, DRAWS, 1, 1), (1, DRAWS, 1, 1), (0, PATCHES, 1, 1), (0, DRAWS, 2, 1), (0, DRAWS, 1, 2)]
    first = [make_generator(*key).integers(2**60) for key in keys]
    assert len(set(first)) == len(keys)
    assert first == [make_generator(*key).integers(2**60) for key in keys]
