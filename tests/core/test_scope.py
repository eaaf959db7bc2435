"""How unlike the training images an image is: by the layers of the network, and by simple measures."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.pipeline import analyse_image
from core.results import OUT_OF_SCOPE, RgbImage, Scope
from core.scope.appearance import MEASURES, measure_appearance
from core.scope.reference import LARGEST_SCORE, TrainingReference, UnusableReferenceError, describe_image
from tests.helpers.networks import small_classifier
from tests.helpers.scopes import scoped_classifier, small_scope, tissue


def scope_of(image: RgbImage) -> Scope:
    scope = analyse_image(image, scoped_classifier(), heatmap=False).scope
    assert scope is not None
    return scope


def test_tissue_of_a_new_patient_is_far_less_unlike_than_pictures_are() -> None:
    new = [scope_of(tissue(patient)).score for patient in (20, 21, 22, 23)]
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3)).astype(np.uint8)
    stripes = np.full((240, 240, 3), (200, 90, 160), np.uint8)
    stripes[:, ::6] = (90, 40, 120)
    pictures = [scope_of(picture) for picture in (noise, stripes, np.ascontiguousarray(255 - tissue(20)))]
    assert all(picture.level == "out" for picture in pictures)
    assert min(picture.score for picture in pictures) > 1.5 * max(new)


def test_what_is_not_stained_with_he_is_out_of_scope_and_says_so() -> None:
    grey = np.repeat(cv2.cvtColor(tissue(20), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.uint8)
    found = scope_of(grey)
    assert found.level == "out"
    assert "it does not look stained with H&E" in found.reasons


def test_a_blurred_image_is_called_less_sharp() -> None:
    blurred = np.asarray(cv2.GaussianBlur(tissue(20), (0, 0), 6), np.uint8)
    found = scope_of(blurred)
    assert found.level == "out"
    measures, low = measure_appearance(blurred), small_scope()[0].measures.low
    assert measures[6] < low[6]
    assert measures[7] < low[7]


def test_an_image_in_scope_has_no_reasons_and_others_have_some() -> None:
    reference, about = small_scope()
    wide = replace(reference, limit_unusual=50.0, limit_out=100.0)
    narrow = replace(reference, limit_unusual=1e-6, limit_out=100.0)
    image, classifier = tissue(20), small_classifier(scope=about)
    level, reasons = [], []
    for limits in (wide, narrow):
        scope = analyse_image(image, classifier.with_scope(limits), heatmap=False).scope
        assert scope is not None
        level.append(scope.level)
        reasons.append(scope.reasons)
    assert level == ["in", "unusual"]
    assert reasons[0] == ()
    assert 0 < len(reasons[1]) <= 3


def test_the_map_is_warm_where_the_image_is_strange() -> None:
    image = np.concatenate([tissue(20), tissue(20)], axis=1)
    image[60:180, 300:420] = np.random.default_rng(0).integers(0, 256, (120, 120, 3))
    analysis = analyse_image(image, scoped_classifier())
    assert analysis.scope_map is not None
    assert analysis.scope_map.shape == image.shape[:2]
    assert analysis.scope_map[80:160, 320:400].mean() > 2 * analysis.scope_map[:, :200].mean()


def test_an_image_out_of_scope_keeps_its_map_and_gets_neither_prediction_nor_heat_map() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3)).astype(np.uint8)
    analysis = analyse_image(noise, scoped_classifier())
    assert analysis.withheld
    assert analysis.prediction is None
    assert analysis.heatmap is None
    assert analysis.scope_map is not None
    assert (analysis.reason or "").startswith(OUT_OF_SCOPE)


def test_features_that_are_no_numbers_are_as_far_away_as_can_be() -> None:
    reference, _ = small_scope()
    features = np.full((1, 4, 4, 2 * sum(reference.widths)), np.nan, np.float32)
    judged = reference.judge(tissue(20), tissue(20), features)
    assert judged.scope.level == "out"
    assert judged.scope.score == LARGEST_SCORE
    assert np.isfinite(judged.places).all()


def test_the_description_of_an_image_is_that_of_its_pixels_in_a_layer() -> None:
    values = np.random.default_rng(0).normal(size=(3, 8, 8, 5)).astype(np.float32)  # 3 patches, 5 channels
    places = values.reshape(3, 4, 2, 4, 2, 5)
    features = np.concatenate([places.mean(axis=(2, 4)), (places**2).mean(axis=(2, 4))], axis=-1)
    (described,) = describe_image(features, (5,))
    np.testing.assert_allclose(described[:5], values.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(np.exp(described[5:]) - 1e-3, values.std(axis=(1, 2)).mean(axis=0), atol=1e-4)


def test_every_measure_has_words_for_either_side() -> None:
    measured = measure_appearance(tissue(0))
    assert measured.shape == (len(MEASURES),)
    assert np.isfinite(measured).all()
    assert np.isfinite(measure_appearance(np.full((64, 64, 3), 255, np.uint8))).all()


def test_a_reference_comes_back_from_its_arrays() -> None:
    reference, _ = small_scope()
    arrays = reference.to_arrays()
    assert sum(values.nbytes for values in arrays.values()) < 2_000_000
    again = TrainingReference.from_arrays(arrays, reference.widths)
    features = small_classifier().features(np.ascontiguousarray(tissue(20)[None, :160, :160]))
    np.testing.assert_allclose(again.layer_distances(features), reference.layer_distances(features), rtol=1e-3)
    np.testing.assert_allclose(again.place_distances(features), reference.place_distances(features), rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("layer.0.axes", lambda values: values[:, :-1]),
        ("layer.0.axes", lambda values: values.ravel()),
        ("layer.1.channels", lambda values: values * np.nan),
        ("layer.1.channels", lambda values: values * 0),
        ("place.0.variances", lambda values: -values),
        ("place.0.variances", lambda values: values[:-1]),
        ("measures", lambda values: values[::-1]),
        ("limits", lambda values: values[::-1] * np.array([1, 1, -1])),
        ("limits", lambda values: values * np.inf),
        ("limits", lambda values: values * 1e12),
    ],
)
def test_arrays_that_are_no_reference_are_refused(name: str, change: object) -> None:
    reference, _ = small_scope()
    arrays = reference.to_arrays()
    arrays[name] = np.asarray(change(arrays[name]), np.float32)  # type: ignore[operator]
    with pytest.raises(UnusableReferenceError):
        TrainingReference.from_arrays(arrays, reference.widths)


def test_a_reference_that_lacks_an_array_or_has_one_too_many_is_refused() -> None:
    reference, _ = small_scope()
    arrays = reference.to_arrays()
    for changed in ({**arrays, "more": arrays["limits"]}, {k: v for k, v in arrays.items() if k != "place.0.axes"}):
        with pytest.raises(UnusableReferenceError, match="missing"):
            TrainingReference.from_arrays(changed, reference.widths)
    with pytest.raises(UnusableReferenceError):
        TrainingReference.from_arrays(arrays, reference.widths[:-1])
