from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.data.datasets import list_breakhis
from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.statistics.compare_sets import (
    ImageSet,
    MeasuredSet,
    TooFewPatientsError,
    compute_discrepancy,
    compute_frechet_distance,
    measure_distances,
    measure_shift,
    principal_components,
    units_of,
)
from core.statistics.evaluation import Figure
from core.statistics.shift import DISCREPANCY, FRECHET, TWO_SAMPLE_AUC, Shift, Step
from core.statistics.tissue_statistics import SIZE, STATISTICS, measure_tissue


def images_of(patients: int, offset: float, seed: int, each: int = 6, side: str = "a") -> ImageSet:
    """Features of patients who differ among each other, `offset` away from the origin in the first of eight."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (patients, 8)) + np.eye(8)[0] * offset
    features = np.repeat(centres, each, axis=0) + rng.normal(0, 0.5, (patients * each, 8))
    return ImageSet(features, np.repeat([f"{side}{i}" for i in range(patients)], each))


def test_two_draws_of_one_laboratory_are_as_near_as_its_own_halves() -> None:
    frechet_distance, compute_discrepancy, told_apart = measure_distances(
        images_of(16, 0, 1), images_of(16, 0, 2, side="b")
    )
    assert frechet_distance.value < 2 * frechet_distance.halves
    assert compute_discrepancy.p is not None
    assert compute_discrepancy.p > 0.05
    assert told_apart.low is not None
    assert told_apart.low < 0.5
    assert told_apart.value < 0.75


def test_another_laboratory_is_far_by_every_distance() -> None:
    frechet_distance, compute_discrepancy, told_apart = measure_distances(
        images_of(16, 0, 1), images_of(16, 8, 2, side="b")
    )
    assert frechet_distance.low is not None
    assert 0 < frechet_distance.low < frechet_distance.value
    assert frechet_distance.value > frechet_distance.halves
    assert compute_discrepancy.p == pytest.approx(1 / 1000)
    assert told_apart.value > 0.95
    assert abs(told_apart.halves - 0.5) < 0.25


def test_images_of_few_patients_do_not_make_a_shift_significant() -> None:
    """Permuting images instead of patients would call two handfuls of patients different for certain."""
    _, compute_discrepancy, _ = measure_distances(images_of(4, 0, 3, each=60), images_of(4, 0, 4, each=60, side="b"))
    assert compute_discrepancy.p is not None
    assert compute_discrepancy.p > 0.02


def seen_twice(offset: float) -> tuple[ImageSet, ImageSet]:
    """The same people in both sets, the second `offset` away."""
    people = images_of(12, 0, 1, each=12)
    return people.only(np.arange(144) % 2 == 0), ImageSet(
        people.features[1::2] + np.eye(8)[0] * offset, people.patient_ids[1::2]
    )


def test_the_same_people_seen_twice_alike_are_not_told_apart() -> None:
    """Dealt to folds set by set, they would be told apart worse than by chance: each is known from the other set."""
    frechet_distance, discrepant, told_apart = measure_distances(*seen_twice(0))
    assert frechet_distance.value < frechet_distance.halves
    assert discrepant.p is not None
    assert discrepant.p > 0.05
    assert told_apart.value == pytest.approx(0.5, abs=0.1)


def test_a_small_shift_of_the_same_people_is_found_because_they_are_paired() -> None:
    paired = seen_twice(0.8)
    strangers = ImageSet(paired[1].features, np.char.add("b", paired[1].patient_ids))
    assert compute_discrepancy(*paired, 999)[1] < 0.01
    assert compute_discrepancy(paired[0], strangers, 999)[1] > 0.1


def test_halves_of_one_set_have_no_discrepancy_on_average() -> None:
    drawn = [compute_discrepancy(images_of(4, 0, seed), images_of(4, 0, seed + 100, side="b"))[0] for seed in range(40)]
    assert abs(np.mean(drawn)) < 2 * np.std(drawn) / np.sqrt(len(drawn))


def test_the_discrepancy_is_gretton_s_where_every_image_is_a_person() -> None:
    first, second = images_of(9, 0, 1, each=1), images_of(7, 1, 2, each=1, side="b")
    both = np.concatenate([first.features, second.features])
    apart = ((both[:, None] - both) ** 2).sum(axis=2)
    kernel = np.exp(-apart / np.median(apart[~np.eye(16, dtype=bool)]))
    within = (kernel[:9, :9].sum() - 9) / 72 + (kernel[9:, 9:].sum() - 7) / 42
    assert compute_discrepancy(first, second)[0] == pytest.approx(within - 2 * kernel[:9, 9:].mean())


def test_an_interval_holds_its_distance() -> None:
    for seed in range(2):
        found = measure_distances(images_of(6, 0, seed), images_of(6, seed, seed + 50, side="b"))[0]
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high


def test_people_in_both_sets_keep_one_place_in_each() -> None:
    units = units_of(np.array(["a", "b", "b", "c"]), np.array(["b", "c", "d", "e", "e"]))
    assert list(units.means(np.arange(9.0))) == [0, 1.5, 3, 4, 5, 6, 7.5]
    drawn = units.exchanged(200, np.random.default_rng(0))
    assert (drawn.sum(axis=1) == 3).all()
    for person in "bc":
        of_person = drawn[:, units.persons == person]
        assert (of_person.sum(axis=1) == 1).all()
        assert 0.3 < of_person[:, 0].mean() < 0.7
    assert set(drawn[:, units.persons == "d"].ravel()) == {True, False}


def test_the_frechet_distance_of_two_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, (200_000, 2)), rng.normal([3, 0], [1, 2], (200_000, 2))
    assert compute_frechet_distance(first, second) == pytest.approx(9 + 1, rel=0.02)
    assert compute_frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_a_set_of_too_few_patients_is_refused_with_the_number() -> None:
    with pytest.raises(TooFewPatientsError, match="at least 4 patients to be compared, it has 3"):
        measure_distances(images_of(8, 0, 0), images_of(3, 0, 0))


def test_principal_components_keep_distances_and_order_their_variance() -> None:
    features = np.random.default_rng(5).normal(0, 1, (50, 6)) * [5, 1, 1, 1, 1, 1]
    components, shares = principal_components(features, 6)
    assert list(shares) == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert compute_frechet_distance(features[:, :1], features[:, :1] + 2) == pytest.approx(4)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    assert np.linalg.norm(components[0] - components[1]) == pytest.approx(np.linalg.norm(scaled[0] - scaled[1]))


def measured(name: str, seeds: range, darker: int) -> MeasuredSet:
    pictures = [
        np.clip(generate_tissue(seed, "benign").astype(int) - darker, 0, 255).astype(np.uint8) for seed in seeds
    ]
    rows = np.stack([measure_tissue(picture) for picture in pictures])
    patients = np.array([f"{name}{seed}" for seed in seeds])
    return MeasuredSet(name, rows[:, :4], rows, patients)


@pytest.fixture(scope="module")
def darker() -> Shift:
    """Generated tissue against the same kind of tissue under a darker lamp."""
    source, target = measured("pale", range(6), 0), measured("dark", range(10, 16), 45)
    return measure_shift(source, target, ("a network", "0" * 12))


def test_a_darker_lamp_is_named_by_the_lightness(darker: Shift) -> None:
    found = {distribution.name: distribution for distribution in darker.distributions}
    assert set(found) <= {statistic.name for statistic in STATISTICS}
    assert found["lightness"].target_median < found["lightness"].source_median
    assert found["lightness"].difference < -3
    assert found["lightness"].p < 0.01
    assert sum(found["lightness"].source) == pytest.approx(1)
    assert len(found["lightness"].edges) == len(found["lightness"].source) + 1


def test_every_image_is_a_point_and_the_whole_is_written_and_read(darker: Shift) -> None:
    assert [point.side for point in darker.points] == ["source"] * 6 + ["target"] * 6
    assert (darker.images, darker.patients) == ((6, 6), (6, 6))
    assert [found.name for found in darker.distances] == [FRECHET, DISCREPANCY, TWO_SAMPLE_AUC]
    assert darker.distance(FRECHET) == darker.distances[0]
    assert darker.distance("another") is None
    assert Shift.from_json(darker.to_json()) == darker
    with pytest.raises(ValueError, match="not a comparison of sets: source"):
        Shift.from_json("{}")


def drop(low: float | None) -> Figure:
    return Figure("drop of AUC", 0.2, low, 0.3, "image", 40)


@pytest.mark.parametrize(("low", "share"), [(0.1, 0.25), (0.0, None), (-0.1, None), (None, None)])
def test_shares_are_given_only_of_a_drop_that_is_certain(darker: Shift, low: float | None, share: float | None) -> None:
    auc = Figure("AUC", 0.75, 0.6, 0.9, "image", 40)
    step = Step("Reinhard", 40, auc, Figure("change of AUC", 0.05, 0.0, 0.1, "image", 40))
    dropped = replace(darker, steps=(Step("as it is", 40, auc, None), step), drop=drop(low))
    assert dropped.given_back(step) == (None if share is None else pytest.approx(share))
    assert dropped.given_back(dropped.steps[0]) is None
    assert darker.given_back(step) is None


_SIZE = [statistic.name for statistic in STATISTICS].index(SIZE)


def test_structures_measure_twice_as_large_at_twice_the_magnification() -> None:
    image = generate_tissue(3, "malignant")
    twice = np.repeat(np.repeat(image[:230, :230], 2, axis=0), 2, axis=1)
    assert measure_tissue(twice)[_SIZE] - measure_tissue(image[:230, :230])[_SIZE] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("radius", [6, 10, 24])
def test_dark_discs_measure_their_diameter(radius: int) -> None:
    image = np.full((300, 300, 3), (230, 180, 210), np.uint8)
    for x, y in np.ndindex(4, 4):
        cv2.circle(image, (40 + 70 * x, 40 + 70 * y), radius, (90, 60, 140), -1, cv2.LINE_AA)
    assert 2 ** measure_tissue(image)[_SIZE] == pytest.approx(2 * radius, rel=0.35)


@pytest.mark.data
@pytest.mark.slow
def test_nuclei_measure_larger_at_every_higher_magnification(shared_data: Path) -> None:
    images = list_breakhis(shared_data / "breakhis")
    medians = []
    for magnification in ("40X", "100X", "200X", "400X"):
        chosen = [image for image in images if image.magnification == magnification][:12]
        medians.append(np.median([measure_tissue(decode_image(c.path.read_bytes()).pixels)[_SIZE] for c in chosen]))
    assert medians == sorted(medians)
    assert medians[3] - medians[1] == pytest.approx(2, abs=0.5)


def test_what_cannot_be_measured_is_not_a_number_and_no_distribution() -> None:
    glass = measure_tissue(np.full((64, 64, 3), 250, np.uint8))
    assert np.isnan(glass[[*range(7), _SIZE]]).all()
    assert np.isfinite(glass[7:9]).all()
    names = np.array(list("abcd"))
    blank = MeasuredSet("glass", np.random.default_rng(0).normal(size=(4, 3)), np.tile(glass, (4, 1)), names)
    other = MeasuredSet("other", np.random.default_rng(1).normal(size=(4, 3)), np.tile(glass, (4, 1)), names)
    assert "lightness" not in {found.name for found in measure_shift(blank, other, ("n", "v")).distributions}
