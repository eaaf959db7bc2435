"""The way of an image through the pipeline, with a classifier that needs no network."""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from core.card import InputPolicy, TrainedScale
from core.imaging.demo import generate_tissue
from core.imaging.limits import UnreadableImageError
from core.pipeline import analyse, analyse_image, pool_embeddings, pool_patches
from core.results import RgbImage
from tests.helpers.fakes import FAKE_CARD, FakeClassifier, give_no_number
from tests.helpers.scopes import FixedScope


@pytest.fixture(scope="module")
def image() -> RgbImage:
    return generate_tissue(3, "malignant", 200, 300)


def _png(image: RgbImage) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def test_bytes_become_an_analysis_with_a_map_of_the_image_size(image: RgbImage) -> None:
    analysis = analyse(_png(image), FakeClassifier())
    assert analysis.prediction is not None
    assert analysis.prediction.patches == 4 * 5
    assert analysis.heatmap is not None
    assert analysis.heatmap.shape == (200, 300)
    assert analysis.quality.readable


def test_without_a_map_the_prediction_is_the_same(image: RgbImage) -> None:
    bare = analyse_image(image, FakeClassifier(), heatmap=False)
    assert bare.heatmap is None
    assert bare.prediction == analyse_image(image, FakeClassifier()).prediction


def test_an_image_lies_where_its_patches_lie_on_average_at_length_one(image: RgbImage) -> None:
    embedding = analyse_image(image, FakeClassifier(), heatmap=False).embedding
    assert embedding is not None
    assert embedding.dtype == np.float16
    assert np.linalg.norm(embedding.astype(np.float64)) == pytest.approx(1, abs=2e-3)
    patches = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    pooled = pool_embeddings(patches)
    assert pooled is not None
    assert pooled.tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0], abs=1e-3)


@pytest.mark.parametrize("nowhere", [0.0, np.nan, np.inf])
def test_an_image_that_lies_nowhere_has_no_embedding(nowhere: float) -> None:
    assert pool_embeddings(np.full((2, 3), nowhere, np.float32)) is None


def test_a_blank_image_is_never_shown_to_the_network() -> None:
    blank = np.full((200, 300, 3), 250, dtype=np.uint8)
    analysis = analyse_image(blank, FakeClassifier(meanwhile=give_no_number))
    assert analysis.prediction is None
    assert analysis.reason
    assert not analysis.quality.readable


def test_an_output_that_is_not_a_number_gives_no_result_and_no_label(image: RgbImage) -> None:
    analysis = analyse_image(image, FakeClassifier(meanwhile=give_no_number))
    assert analysis.prediction is None
    assert analysis.reason == "the network's output is not a finite number"


def test_an_image_smaller_than_a_patch_says_so(image: RgbImage) -> None:
    card = replace(FAKE_CARD, input_policy=InputPolicy("patches"))
    analysis = analyse_image(np.ascontiguousarray(image[:100, :180]), FakeClassifier(card))
    assert analysis.reason == "a 180 x 100 image is smaller than one 224 px patch of this model"


def test_an_image_a_little_smaller_than_a_patch_is_mirrored_and_says_so(image: RgbImage) -> None:
    card = replace(FAKE_CARD, input_policy=InputPolicy("patches", input_side=32, patch_side=224))
    analysis = analyse_image(np.ascontiguousarray(image[:112, :180]), FakeClassifier(card))
    assert analysis.prediction is not None
    assert analysis.prediction.patches == 1
    assert analysis.heatmap is not None
    assert analysis.heatmap.shape == (112, 180)
    assert [f.message for f in analysis.quality.findings if "mirrored" in f.message]
    assert analyse_image(np.ascontiguousarray(image[:111, :180]), FakeClassifier(card)).prediction is None


def test_the_resize_policy_looks_at_the_whole_image_once(image: RgbImage) -> None:
    card = replace(FAKE_CARD, input_policy=InputPolicy("resize", input_side=32))
    analysis = analyse_image(image, FakeClassifier(card))
    assert analysis.prediction is not None
    assert analysis.prediction.patches == 1
    assert analysis.heatmap is not None
    assert analysis.heatmap.shape == (200, 300)


def test_bytes_that_are_no_image_raise_our_error() -> None:
    with pytest.raises(UnreadableImageError):
        analyse(b"not an image", FakeClassifier())


def _two(p: float, q: float) -> NDArray[np.float32]:
    return np.array([[1 - p, p], [1 - q, q]], dtype=np.float32)


def test_pooling_averages_patches_and_counts_both_sides_of_the_threshold() -> None:
    prediction = pool_patches(_two(0.9, 0.3), replace(FAKE_CARD, threshold=0.55))
    assert prediction.malignant_probability == pytest.approx(0.6)
    assert (prediction.benign_patches, prediction.malignant_patches) == (1, 1)
    assert prediction.label == "malignant"
    assert pool_patches(_two(0.9, 0.3), replace(FAKE_CARD, threshold=0.65)).label == "benign"


def test_a_patch_at_the_threshold_counts_as_malignant_as_the_image_would() -> None:
    # Halves and quarters are exact in 32 bits, so that "at the threshold" is no matter of rounding.
    prediction = pool_patches(_two(0.5, 0.5), replace(FAKE_CARD, threshold=0.5))
    assert prediction.label == "malignant"
    assert (prediction.benign_patches, prediction.malignant_patches) == (0, 2)
    below = pool_patches(_two(0.25, 0.5), replace(FAKE_CARD, threshold=0.5))
    assert (below.label, below.benign_patches, below.malignant_patches) == ("benign", 1, 1)


def test_the_pipeline_is_imported_without_torch() -> None:
    code = "import sys, core.pipeline; assert not {'torch', 'timm', 'streamlit'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unusual_image_gets_an_opinion_and_its_scope(image: RgbImage) -> None:
    analysis = analyse_image(image, FakeClassifier(scope=FixedScope(1.5)))
    assert analysis.prediction is not None
    assert analysis.heatmap is not None
    assert analysis.scope is not None
    assert (analysis.scope.level, analysis.scope.reasons) == ("unusual", ("it is a test",))
    assert analysis.scope_map is not None
    assert analysis.scope_map.shape == (200, 300)
    assert analysis.scope_map[:, :40].mean() > analysis.scope_map[:, 40:64].mean()


def test_an_image_out_of_scope_gets_no_opinion_and_the_reason(image: RgbImage) -> None:
    analysis = analyse_image(image, FakeClassifier(scope=FixedScope(2.0)))
    assert analysis.withheld
    assert (analysis.prediction, analysis.heatmap) == (None, None)
    assert analysis.reason == "No opinion: this image is unlike the training images: it is a test."
    assert analyse_image(image, FakeClassifier(scope=FixedScope(2.0)), heatmap=False).scope_map is None


def test_generated_tissue_is_not_asked_for_its_scope(image: RgbImage) -> None:
    analysis = analyse_image(image, FakeClassifier(scope=FixedScope(2.0)), judge_scope=False)
    assert analysis.prediction is not None
    assert (analysis.scope, analysis.scope_map) == (None, None)


def test_without_a_reference_there_is_no_scope(image: RgbImage) -> None:
    analysis = analyse_image(image, FakeClassifier())
    assert (analysis.scope, analysis.scope_map) == (None, None)


def test_an_image_of_a_scale_outside_that_of_training_is_unusual_however_alike(image: RgbImage) -> None:
    card = replace(FAKE_CARD, scale=TrainedScale(0.2, 0.5, 0.25))
    classifier = FakeClassifier(card, scope=FixedScope(0.1))
    usual = analyse_image(image, classifier, um_per_px=0.3).scope
    unusual = analyse_image(image, classifier, um_per_px=0.1).scope
    assert usual is not None
    assert unusual is not None
    assert (usual.level, usual.reasons) == ("in", ())
    assert (unusual.level, unusual.score) == ("unusual", 1.0)
    assert "0.1 µm per pixel is outside" in unusual.reasons[-1]
    worse = analyse_image(image, FakeClassifier(card, scope=FixedScope(3.0)), um_per_px=0.1).scope
    assert worse is not None
    assert (worse.level, worse.score) == ("out", 3.0)
