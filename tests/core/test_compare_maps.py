"""Measures of heat maps, on images and networks for which the right values are known."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from core.results import Heatmap, RgbImage
from core.statistics.compare_maps import (
    RANDOM_MAPS,
    STEPS,
    Curve,
    MapCurves,
    MeasuredMap,
    area_under,
    blur_away,
    is_flat,
    measure_curves,
    random_like,
    rank_correlation,
    shrink_to_compare,
    summarise_maps,
)
from core.statistics.map_trust import MapTrust
from tests.helpers.map_trust import made_trust

SIDE = 32
LEFT = np.zeros((SIDE, SIDE), np.float32)
LEFT[:, : SIDE // 4] = 1  # the quarter of the image that counts
WHITE = np.full((SIDE, SIDE, 3), 255, np.uint8)
BLACK = np.zeros_like(WHITE)


def quarter_left(image: RgbImage) -> float:
    """The probability of a network that looks at the left quarter only: how much of it is still white."""
    return float(image[:, : SIDE // 4].mean() / 255)


def curves_of(heatmap: Heatmap, random_maps: Sequence[Heatmap] | None = None) -> MapCurves:
    return measure_curves(WHITE, BLACK, heatmap, random_maps or [LEFT], quarter_left)


def test_a_map_of_what_counts_loses_all_at_the_first_quarter_and_regains_it_there() -> None:
    found = curves_of(LEFT)
    np.testing.assert_allclose(found.deletion, [1, 0.5, *[0] * (STEPS - 1)])
    np.testing.assert_allclose(found.insertion, [0, 0.5, *[1] * (STEPS - 1)])
    assert area_under(found.deletion) == pytest.approx(1 / 8)
    assert area_under(found.insertion) == pytest.approx(7 / 8)


def test_a_map_of_the_contrary_loses_nothing_until_the_last_quarter() -> None:
    found = curves_of(-LEFT)
    np.testing.assert_allclose(found.deletion, [*[1] * (STEPS - 1), 0.5, 0])
    assert area_under(found.insertion) == pytest.approx(1 / 8)


def test_the_insertion_curve_of_random_maps_is_that_of_their_opposites() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=LEFT.shape).astype(np.float32) for _ in range(3)]
    expected = np.mean([curves_of(-one).insertion for one in maps], axis=0)
    np.testing.assert_allclose(curves_of(LEFT, maps).random_insertion, expected)
    expected = np.mean([curves_of(one).deletion for one in maps], axis=0)
    np.testing.assert_allclose(curves_of(LEFT, maps).random_deletion, expected)


def test_the_ends_of_a_curve_are_the_image_and_its_blurred_copy_whatever_the_map() -> None:
    found = curves_of(random_like(LEFT, np.random.default_rng(1)))
    for curve in (found.deletion, found.random_deletion):
        assert (curve[0], curve[-1]) == (1, 0)
    for curve in (found.insertion, found.random_insertion):
        assert (curve[0], curve[-1]) == (0, 1)


def test_equal_shares_of_the_pixels_are_replaced_at_every_step() -> None:
    seen: list[float] = []

    def score(image: RgbImage) -> float:
        seen.append(float(image.mean() / 255))
        return 0.5

    measure_curves(WHITE, BLACK, LEFT, [-LEFT], score)
    inner = [1 - step / STEPS for step in range(1, STEPS)]
    np.testing.assert_allclose(seen, [1, 0, *inner, *inner[::-1], *inner])


def test_a_random_map_is_as_smooth_as_its_model_and_unlike_it() -> None:
    rows, columns = np.mgrid[:40, :60]
    smooth = (np.sin(rows / 9) + np.cos(columns / 7)).astype(np.float32)
    drawn = [random_like(smooth, np.random.default_rng(seed)) for seed in range(40)]
    for one in drawn:
        np.testing.assert_allclose(np.abs(np.fft.rfft2(one)), np.abs(np.fft.rfft2(smooth)), atol=1e-2)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.5
    correlations = [rank_correlation(smooth, one) for one in drawn]
    assert abs(np.mean(correlations)) < 0.25
    assert np.std(correlations) > 0.1


def test_a_random_map_has_the_size_of_its_model_whether_its_sides_are_odd_or_even() -> None:
    for shape in ((7, 9), (8, 9), (7, 10), (8, 10)):
        heatmap = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        assert random_like(heatmap, np.random.default_rng(1)).shape == shape


def test_a_blurred_copy_keeps_the_mean_and_no_nucleus() -> None:
    image = np.full((128, 128, 3), 220, np.uint8)
    image[::8] = 60
    blurred = blur_away(image, 64)
    assert blurred.shape == image.shape
    assert int(np.ptp(blurred[32:-32])) < 8, "of 160, away from the edge, where stripes are mirrored"
    assert blurred.mean() == pytest.approx(image.mean(), abs=2)


def test_the_rank_correlation_is_that_of_the_ranks() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(size=(6, 5)).astype(np.float32)
    second = (first + rng.normal(size=(6, 5))).astype(np.float32)
    ranks = [rankdata(one) for one in (first, second)]
    assert rank_correlation(first, second) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)


def test_a_map_that_marks_nothing_is_like_no_other() -> None:
    flat = np.full_like(LEFT, 3)
    assert is_flat(flat)
    assert not is_flat(LEFT)
    assert rank_correlation(flat, LEFT) == rank_correlation(LEFT, flat) == 0


def test_maps_are_compared_small_and_small_ones_as_they_are() -> None:
    large = np.repeat(np.repeat(LEFT, 8, axis=0), 4, axis=1)
    assert shrink_to_compare(large).shape == (64, 32)
    assert shrink_to_compare(LEFT) is LEFT


def measured(patient: str, advantage: float, head: float = 0.5, branches: tuple[float, ...] = ()) -> MeasuredMap:
    """An image on which random maps have areas of a half, and the map is better by this in either way."""
    flat: Curve = np.full(STEPS + 1, 0.5)
    curves = MapCurves(flat - advantage, flat + advantage, flat, flat)
    return MeasuredMap(patient, curves, head, head / 2, 0.1, branches)


def test_means_are_over_images_and_both_advantages_are_better_when_positive() -> None:
    figures = summarise_maps(
        [measured("a", 0.1, 0.2, (0.3,)), measured("a", 0.2, 0.4, (0.5,)), measured("b", 0.3, 0.9, (-0.2,))]
    )
    assert figures.deletion.area_of_map.value == pytest.approx(0.3)
    assert figures.insertion.area_of_map.value == pytest.approx(0.7)
    assert figures.deletion.area_of_random.value == figures.insertion.area_of_random.value == pytest.approx(0.5)
    assert figures.deletion.advantage.value == figures.insertion.advantage.value == pytest.approx(0.2)
    assert figures.redrawn.head.value == pytest.approx(0.5)
    assert figures.redrawn.all_weights.value == pytest.approx(0.25)
    assert figures.redrawn.chance.value == pytest.approx(0.1)
    assert [one.value for one in figures.branches] == [pytest.approx(0.2)]
    np.testing.assert_allclose(figures.deletion.by_map, [0.3] * (STEPS + 1))
    np.testing.assert_allclose(figures.insertion.by_random, [0.5] * (STEPS + 1))


def test_intervals_come_from_patients_so_that_many_images_of_one_make_none_narrower() -> None:
    once = [measured(f"p{number}", 0.02 * number) for number in range(8)]
    narrow, wide = summarise_maps(once * 5), summarise_maps(once)
    assert narrow.deletion.advantage == wide.deletion.advantage
    advantage = wide.deletion.advantage
    assert advantage.low is not None
    assert advantage.high is not None
    assert 0 < advantage.low < advantage.value < advantage.high < 0.14


def test_one_patient_alone_has_no_interval() -> None:
    figures = summarise_maps([measured("a", 0.1), measured("a", 0.2)])
    assert (figures.deletion.advantage.low, figures.deletion.advantage.high) == (None, None)
    assert figures.branches == ()


def test_random_maps_against_random_maps_have_no_advantage() -> None:
    """A property of the whole measure: what is not better than chance is not called better."""
    rng = np.random.default_rng(3)
    weights: NDArray[np.float64] = rng.random((SIDE, SIDE, 1))

    def score(image: RgbImage) -> float:
        return float((image * weights).sum() / (255 * 3 * weights.sum()))

    found = []
    for patient in range(12):
        maps = [random_like(LEFT, rng) for _ in range(RANDOM_MAPS + 1)]
        curves = measure_curves(WHITE, BLACK, maps[0], maps[1:], score)
        found.append(MeasuredMap(f"p{patient}", curves, 0, 0, 0))
    for test in (summarise_maps(found).deletion, summarise_maps(found).insertion):
        assert test.advantage.low is not None
        assert test.advantage.high is not None
        assert test.advantage.low < 0 < test.advantage.high


def test_a_measurement_is_read_as_it_was_written() -> None:
    trust = made_trust()
    assert MapTrust.from_json(trust.to_json()) == trust


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"images": 48', '"images": "many"'), "images"),
        (('"trained_on": 24', '"trained_on": 25'), "25 are known"),
        (('"by_map": [', '"by_map": [0.5,'), "cannot be compared"),
        (("{", "["), "not a measurement of heat maps"),
    ],
)
def test_a_measurement_that_is_none_is_refused_with_the_reason(change: tuple[str, str], words: str) -> None:
    text = made_trust().to_json()
    assert change[0] in text
    with pytest.raises(ValueError, match=words):
        MapTrust.from_json(text.replace(*change, 1))
