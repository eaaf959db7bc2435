"""What a camera, compression and resizing leave in an image, and that images recorded otherwise get no opinion."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.pipeline import analyse_image
from core.results import RgbImage, Scope
from core.scope.recording import LEAST_SIDE, RECORDING_MEASURES, measure_recording
from core.scope.reference import LARGEST_SCORE, TrainingReference
from tests.helpers.networks import small_classifier
from tests.helpers.scopes import measure_tissue_of, scoped_classifier, small_scope, tissue
from training.scopes.fit import fit_scope, leave_one_out, measure_image

_ACROSS, _DOWN = 0, 1  # the correlations with the next pixel of the same colour, red first
_RED_GREEN = 24
_GRID = RECORDING_MEASURES - 1


def _noise(height: int = 320, width: int = 400) -> RgbImage:
    return np.random.default_rng(0).normal(128, 5, (height, width, 3)).clip(0, 255).astype(np.uint8)


def _measured(image: RgbImage) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found = measure_recording(image)
    assert found is not None
    assert found.shape == (RECORDING_MEASURES,)
    assert np.isfinite(found).all()
    return found


def _scope_of(image: RgbImage) -> Scope:
    scope = analyse_image(image, scoped_classifier(), heatmap=False).scope
    assert scope is not None
    return scope


def test_detail_that_hangs_together_along_rows_is_told_from_that_along_columns() -> None:
    rows = np.repeat(_noise()[:, ::2], 2, axis=1)  # every pixel twice, as a camera of fewer columns gives it
    columns = np.ascontiguousarray(np.rot90(rows))
    assert _measured(rows)[_ACROSS] > _measured(rows)[_DOWN] + 0.3
    assert _measured(columns)[_DOWN] == pytest.approx(_measured(rows)[_ACROSS], abs=0.02)


def test_a_grey_image_has_the_same_detail_in_all_colours_and_noise_has_not() -> None:
    grey = np.repeat(_noise()[..., :1], 3, axis=2)
    assert _measured(grey)[_RED_GREEN] == pytest.approx(1.0, abs=1e-3)
    assert _measured(_noise())[_RED_GREEN] == pytest.approx(0.0, abs=0.02)


def test_blocks_of_jpeg_are_seen_wherever_they_begin() -> None:
    _, data = cv2.imencode(".jpg", _noise(), [cv2.IMWRITE_JPEG_QUALITY, 40])
    blocks = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    assert _measured(blocks)[_GRID] > _measured(_noise())[_GRID] + 0.1
    assert _measured(np.ascontiguousarray(blocks[:, 3:]))[_GRID] == pytest.approx(_measured(blocks)[_GRID], abs=0.02)


def test_an_even_image_has_measures_and_a_small_one_has_none() -> None:
    _measured(np.full((LEAST_SIDE, LEAST_SIDE, 3), 200, np.uint8))
    assert measure_recording(np.full((LEAST_SIDE - 1, 900, 3), 200, np.uint8)) is None


def test_of_a_large_image_the_middle_is_measured() -> None:
    image = np.zeros((1300, 1400, 3), np.uint8)
    image[138:1162, 188:1212] = middle = _noise(1024, 1024)
    np.testing.assert_array_equal(_measured(image), _measured(middle))


def test_the_same_tissue_recorded_otherwise_gets_no_opinion_and_is_told_why() -> None:
    image = tissue(20)
    assert _scope_of(image).level != "out"
    doubled = np.ascontiguousarray(np.repeat(image[:, ::2], 2, axis=1))
    found = _scope_of(doubled)
    assert found.level == "out"
    assert found.reasons[0] == "its camera, compression or resizing differs from that of the training images"


def test_an_image_that_is_too_small_to_tell_is_marked_and_not_refused() -> None:
    image = np.ascontiguousarray(tissue(20)[: LEAST_SIDE - 20])
    found = _scope_of(image)
    assert found.level == "unusual"
    assert "it is too small to assess its camera, compression and resizing" in found.reasons


def test_a_reference_of_small_images_does_not_ask_how_they_were_recorded() -> None:
    classifier = small_classifier()
    small = [
        measure_image(np.ascontiguousarray(tissue(patient)[:180, :180]), f"patient {patient}", classifier)
        for patient in range(6)
    ]
    images = [one for one in small if not isinstance(one, str)]
    reference, _ = fit_scope(images, leave_one_out(images), classifier.reference_widths, "")
    assert reference.recording is None
    assert (
        "it is too small to assess its camera, compression and resizing"
        not in _judge(reference, tissue(20)[:150, :150]).reasons
    )
    again = TrainingReference.from_arrays(reference.to_arrays(), reference.widths)
    assert again.recording is None


def test_a_reference_of_before_judges_as_it_did() -> None:
    reference, _ = small_scope()
    before = replace(reference, recording=None)
    doubled = np.ascontiguousarray(np.repeat(tissue(20)[:, ::2], 2, axis=1))
    assert _judge(before, doubled).score < _judge(reference, doubled).score


def test_the_recording_comes_back_from_the_arrays_of_a_checkpoint() -> None:
    reference, _ = small_scope()
    again = TrainingReference.from_arrays(reference.to_arrays(), reference.widths)
    measured = measure_recording(tissue(20))
    assert again.recording_distance(measured) == pytest.approx(reference.recording_distance(measured), rel=1e-3)


def test_measures_that_are_no_numbers_are_as_far_away_as_can_be() -> None:
    reference, _ = small_scope()
    assert reference.recording is not None
    broken = replace(reference, recording=replace(reference.recording, mean=reference.recording.mean * np.nan))
    assert _judge(broken, tissue(20)).score == LARGEST_SCORE


def test_held_out_patients_set_the_limit_of_the_recording_as_well() -> None:
    classifier = small_classifier()
    measured = measure_tissue_of(classifier, patients=8, each=1)
    reference, about = fit_scope(measured, leave_one_out(measured), classifier.reference_widths, "")
    assert about.false_alarms <= 0.02
    own = [reference.recording_distance(image.recording) for image in measured]
    assert all(far is not None and far < 1 for far in own)


def _judge(reference: TrainingReference, image: RgbImage) -> Scope:
    image = np.ascontiguousarray(image)
    patches = np.ascontiguousarray(np.resize(image, (1, 160, 160, 3)))
    return reference.judge(image, image, small_classifier().features(patches)).scope
