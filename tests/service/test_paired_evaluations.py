"""Two stored evaluations compared on the images that both judged."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.labels import BINARY
from core.statistics.comparison import compare_auc, mcnemar_p_value
from core.statistics.predictions import BinaryPredictions
from db import store
from db.values.evaluations import EvaluatedImage
from service.paired_evaluations import compare_images, compare_stored
from service.visible_evaluations import VisibleEvaluations
from tests.helpers.databases import open_new
from tests.helpers.evaluations import add_evaluation, made_evaluation, made_images

ONE = made_images(BINARY)


def halved(images: list[EvaluatedImage]) -> list[EvaluatedImage]:
    return [replace(image, malignant_probability=image.malignant_probability / 2) for image in images]


def worse(images: list[EvaluatedImage]) -> list[EvaluatedImage]:
    return [replace(image, malignant_probability=(7 * image.position) % 60 / 60) for image in images]


def test_the_order_of_the_images_does_not_matter() -> None:
    paired = compare_images(ONE, worse(ONE)[::-1])
    direct = compare_auc(judged(ONE), judged(worse(ONE)))
    assert paired.comparison is not None
    assert paired.comparison.difference == pytest.approx(direct.difference)
    assert paired.comparison.p_delong == pytest.approx(direct.p_delong)
    assert (paired.problem, paired.only_first, paired.only_second) == ("", 0, 0)


def test_accuracy_is_compared_by_what_each_called_malignant_at_its_own_threshold() -> None:
    turned = [replace(image, called_malignant=not image.called_malignant) for image in ONE[:6]]
    paired = compare_images(ONE, [*turned, *ONE[6:]])
    right = sum(image.called_malignant == image.malignant for image in ONE[:6])
    assert paired.accuracy is not None
    assert paired.accuracy.difference == pytest.approx((2 * right - 6) / 60)
    assert paired.accuracy.p_mcnemar == pytest.approx(mcnemar_p_value(right, 6 - right))
    assert paired.comparison is not None
    assert paired.comparison.difference == 0


def test_a_model_that_ranks_alike_does_not_differ() -> None:
    paired = compare_images(ONE, halved(ONE))
    assert paired.comparison is not None
    assert paired.comparison.difference == 0


def test_images_of_one_alone_are_left_out_and_counted() -> None:
    paired = compare_images(ONE[:50], worse(ONE)[5:])
    assert paired.comparison is not None
    assert (paired.comparison.n, paired.only_first, paired.only_second) == (45, 5, 10)


def test_the_same_name_of_another_patient_is_another_image() -> None:
    paired = compare_images(ONE, [replace(image, patient_id=f"x{image.patient_id}") for image in ONE])
    assert paired.comparison is None
    assert paired.problem == "the evaluations have no image in common"


def test_images_that_cannot_be_told_apart_are_not_compared() -> None:
    paired = compare_images(ONE, [replace(image, name="a.png") for image in ONE])
    assert "cannot be matched" in paired.problem


def test_two_truths_are_not_compared() -> None:
    paired = compare_images(ONE, [replace(image, malignant=not image.malignant) for image in ONE])
    assert "use different labels for the same images" in paired.problem


def test_one_side_alone_is_no_comparison_and_no_crash() -> None:
    benign = [image for image in ONE if not image.malignant]
    paired = compare_images(benign, worse(benign))
    assert paired.comparison is None
    assert paired.problem


def test_evaluations_of_two_datasets_are_not_compared(tmp_path: Path) -> None:
    sessions = open_new(tmp_path / "test.sqlite")
    found = made_evaluation(BINARY)
    add_evaluation(sessions, found, ONE)
    add_evaluation(sessions, found, worse(ONE))
    add_evaluation(sessions, replace(found, dataset="idc"), ONE)
    with sessions.read() as session:
        elsewhere, second, first = store.evaluations.evaluations(session, None)
    assert compare_stored(VisibleEvaluations(sessions, None), first, second) == compare_images(ONE, worse(ONE))
    assert (
        compare_stored(VisibleEvaluations(sessions, None), first, elsewhere).problem
        == "the evaluations are of different datasets: breakhis and idc"
    )
    sessions.dispose()


def judged(images: list[EvaluatedImage]) -> BinaryPredictions:
    return BinaryPredictions.of(
        [image.malignant for image in images],
        [image.malignant_probability for image in images],
        [image.patient_id for image in images],
    )


def test_a_patient_written_in_another_way_by_the_other_evaluation_is_the_same() -> None:
    other = [replace(image, patient_id=f" {image.patient_id.lower()}\u00a0") for image in worse(ONE)]
    assert compare_images(ONE, other) == compare_images(ONE, worse(ONE))
