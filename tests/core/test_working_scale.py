"""An image of known scale is judged at the scale of its network, and its map comes back at its own size."""

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from core.card import Card, InputPolicy, ScopeReference, TrainedScale, UnusableCheckpointError, read_card
from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.imaging.limits import MAX_PIXELS
from core.imaging.working_scale import find_scale_findings, resample, resample_map, working_factor
from core.pipeline import CutImage, analyse, analyse_image, check_image, cut_normalised_patches
from core.results import Patches, RgbImage
from tests.helpers.fakes import FAKE_CARD, FakeClassifier

SCALE = TrainedScale(low=0.05, high=0.49, working=0.2)
CARD = replace(FAKE_CARD, scale=SCALE)


@pytest.fixture(scope="module")
def image() -> RgbImage:
    return generate_tissue(3, "malignant", 200, 300)


def cut(image: RgbImage, um_per_px: float | None, card: Card = CARD) -> CutImage:
    return cut_normalised_patches(image, FakeClassifier(card), um_per_px)


def messages(height: int, width: int, um_per_px: float | None, card: Card = CARD) -> list[tuple[str, str]]:
    return [(found.kind, found.message) for found in find_scale_findings(height, width, card, um_per_px)]


@pytest.mark.parametrize(
    ("um_per_px", "inner"),
    [(None, (200, 300)), (0.2, (200, 300)), (0.1, (100, 150)), (0.4, (400, 600)), (0.49, (490, 735))],
)
def test_an_image_is_cut_at_the_working_scale(image: RgbImage, um_per_px: float | None, inner: tuple[int, int]) -> None:
    found = cut(image, um_per_px)
    assert (found.size, found.inner) == ((200, 300), inner)


@pytest.mark.parametrize("um_per_px", [0.1961, 0.2, 0.2039])
def test_a_scale_within_two_percent_leaves_every_pixel_alone(image: RgbImage, um_per_px: float) -> None:
    assert resample(image, working_factor(um_per_px, 0.2)) is image
    assert np.array_equal(cut(image, um_per_px).patches, cut(image, None).patches)
    assert working_factor(0.1959, 0.2) != 1 != working_factor(0.2041, 0.2)


def test_a_card_without_a_scale_uses_every_image_as_it_is_and_says_nothing(image: RgbImage) -> None:
    plain = analyse_image(image, FakeClassifier(), um_per_px=2.0)
    assert plain.quality == check_image(image, FAKE_CARD)
    assert plain.prediction == analyse_image(image, FakeClassifier()).prediction
    assert not messages(200, 300, 4.9, FAKE_CARD)


@pytest.mark.parametrize("um_per_px", [0.1, 0.2, 0.3, 0.55])
def test_a_map_comes_back_at_the_size_of_the_image_and_in_its_units(image: RgbImage, um_per_px: float) -> None:
    analysis = analyse_image(image, FakeClassifier(CARD), um_per_px=um_per_px)
    assert analysis.heatmap is not None
    assert analysis.heatmap.shape == image.shape[:2]
    assert analysis.heatmap.dtype == np.float32
    constant = np.full((len(cut(image, um_per_px).patches), 32, 32), 1.5, np.float32)
    np.testing.assert_allclose(cut(image, um_per_px).lay_back(constant), 1.5, atol=1e-5)
    assert -1 <= analysis.heatmap.min() < 0 < analysis.heatmap.max() <= 2


@pytest.mark.parametrize("um_per_px", [0.1, 0.4])
def test_evidence_stays_where_it_is_in_the_image(image: RgbImage, um_per_px: float) -> None:
    marked = np.full_like(image, 255)
    marked[120:160, 220:260] = 0
    found = cut(marked, um_per_px)
    darkness = 255 - found.patches.mean(axis=3, dtype=np.float32)
    heatmap = found.lay_back(darkness)
    rows, columns = np.nonzero(heatmap > 128)
    assert abs(rows.mean() - 139.5) < 2
    assert abs(columns.mean() - 239.5) < 2


def test_boxes_are_in_pixels_of_the_image_itself(image: RgbImage) -> None:
    assert cut(image, None).boxes[0] == (0, 0, 64, 64)
    assert cut(image, 0.1).boxes[0] == (0, 0, 128, 128)
    assert cut(image, 0.4).boxes[0] == (0, 0, 32, 32)
    for scale in (None, 0.1, 0.3, 0.4):
        boxes = np.array(cut(image, scale).boxes)
        assert boxes.min() == 0
        assert boxes[:, 2].max() == 300
        assert boxes[:, 3].max() == 200
    small = cut(np.ascontiguousarray(image[:100, :100]), 0.1)
    assert small.boxes == ((0, 0, 100, 100),), "what is mirrored is outside the image"


def test_a_map_is_shrunk_by_its_mean_and_enlarged_without_steps() -> None:
    heatmap = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(resample_map(heatmap, 2, 2), [[2.5, 4.5], [10.5, 12.5]])
    assert resample_map(heatmap, 4, 4) is heatmap
    assert np.diff(resample_map(heatmap, 4, 64)[0]).max() < 0.1


@pytest.mark.parametrize("method", [cv2.INTER_AREA, cv2.INTER_CUBIC])
def test_shrinking_averages_areas_and_enlarging_is_cubic(image: RgbImage, method: int) -> None:
    factor = 0.5 if method == cv2.INTER_AREA else 2.0
    size = (round(300 * factor), round(200 * factor))
    assert np.array_equal(resample(image, factor), cv2.resize(image, size, interpolation=method))


def test_an_unknown_scale_is_a_note_and_the_image_is_used_as_it_is(image: RgbImage) -> None:
    analysis = analyse_image(image, FakeClassifier(CARD))
    assert analysis.quality.notes == ("the scale of this image is unknown; the model assumes 0.20 µm per pixel",)
    assert analysis.prediction == analyse_image(image, FakeClassifier()).prediction
    assert analysis.quality.problems == analyse_image(image, FakeClassifier()).quality.problems


def test_an_unknown_scale_is_said_once_by_a_network_that_judges_the_scope() -> None:
    judging = replace(CARD, scope=ScopeReference(0.8, 1.0, 0.02, 0.1, 240, 24, "one patient left out at a time"))
    assert messages(200, 300, None, judging) == []


@pytest.mark.parametrize(
    ("um_per_px", "expected"),
    [
        (0.05, []),
        (0.2, []),
        (0.399, []),
        (0.41, ["enlarged 2.05 times to the model's 0.2 µm per pixel: fine detail is missing"]),
        (0.49, ["enlarged 2.45 times to the model's 0.2 µm per pixel: fine detail is missing"]),
        (
            0.6,
            [
                "its scale of 0.6 µm per pixel is outside that of the model's training images (0.05 to 0.49)",
                "enlarged 3 times to the model's 0.2 µm per pixel: fine detail is missing",
            ],
        ),
    ],
)
def test_a_scale_outside_the_training_images_and_much_enlarging_are_warnings(
    um_per_px: float, expected: list[str]
) -> None:
    assert messages(1000, 1000, um_per_px) == [("warning", message) for message in expected]


def test_what_would_have_to_be_enlarged_beyond_sense_or_memory_is_refused_in_words() -> None:
    ((kind, message),) = messages(1000, 1000, 5.0)
    assert kind == "unreadable"
    assert message.startswith("its pixels of 5 µm would have to be enlarged 25 times for this model")
    ((kind, message),) = messages(9_000, 9_000, 0.4)
    assert kind == "unreadable"
    assert "needs too much memory" in message
    assert all(kind == "warning" for kind, _ in messages(4_900, 5_000, 0.4, replace(CARD, input_policy=_PLAIN)))


_PLAIN = InputPolicy("patches")


def test_an_image_that_would_take_too_much_memory_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = np.zeros((6_000, 6_000, 3), np.uint8)
    large[::7] = 200
    assert large.shape[0] * large.shape[1] * 25 > MAX_PIXELS
    monkeypatch.setattr(cv2, "resize", lambda *_, **__: pytest.fail("something was resampled"))
    analysis = analyse_image(large, FakeClassifier(CARD), um_per_px=1.0)
    assert analysis.prediction is None
    assert analysis.reason
    assert "needs too much memory" in analysis.reason


def test_the_field_of_a_strong_objective_is_mirrored_several_times_and_says_so(image: RgbImage) -> None:
    card = replace(CARD, input_policy=InputPolicy("patches", input_side=32, patch_side=448, stride=448))
    field = generate_tissue(4, "benign", 460, 700)
    analysis = analyse_image(field, FakeClassifier(card), um_per_px=0.05)
    assert analysis.prediction is not None
    assert analysis.heatmap is not None
    assert analysis.heatmap.shape == (460, 700)
    (warning,) = [problem for problem in analysis.quality.problems if "mirrored" in problem]
    assert warning == (
        "a 175 x 115 image at 0.2 µm per pixel is smaller than one 448 px patch of this model; it was mirrored several "
        "times to fill one, and shows few cells"
    )
    assert messages(111 * 4, 700, 0.05, card)[-1][0] == "unreadable"
    # The same pixels without a scale may be a thumbnail.
    assert messages(115, 175, None, card)[0][0] == "unreadable"
    assert messages(224, 224, None, card)[0][0] == "warning"


def test_a_mirrored_field_shows_only_its_own_pixels() -> None:
    card = replace(CARD, input_policy=InputPolicy("patches", input_side=64, patch_side=64, stride=64))
    small = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    (patch,) = cut(small, 0.2, card).patches
    assert np.array_equal(patch[:20, :24], small)
    assert np.array_equal(patch[20:40, :24], small[::-1])
    assert np.array_equal(patch[40:60, :24], small)
    assert np.array_equal(patch[:20, 24:48], small[:, ::-1])


def test_a_given_scale_wins_over_that_of_the_file(image: RgbImage) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, image, photometric="rgb", metadata=None, resolution=(1e5, 1e5), resolutionunit="CENTIMETER"
    )
    classifier = FakeClassifier(CARD)
    from_file = analyse(buffer.getvalue(), classifier).prediction
    assert from_file == analyse_image(image, classifier, um_per_px=0.1).prediction
    given = analyse(buffer.getvalue(), classifier, um_per_px=0.2).prediction
    assert given == analyse_image(image, classifier, um_per_px=0.2).prediction
    assert given is not None
    assert from_file is not None
    assert given.patches > from_file.patches
    with pytest.raises(ValueError, match="is not a plausible scale for a microscope image"):
        analyse(buffer.getvalue(), classifier, um_per_px=300.0)


def test_two_images_of_one_field_at_two_scales_are_judged_alike() -> None:
    field = generate_tissue(6, "malignant", 400, 600)
    seen: list[Patches] = [cut(part, scale).patches for part, scale in ((field, 0.1), (resample(field, 0.5), 0.2))]
    assert np.array_equal(seen[0], seen[1])
    shrunk = np.asarray(Image.fromarray(field).resize((300, 200), Image.Resampling.LANCZOS))
    assert np.abs(cut(shrunk, 0.2).patches.astype(int) - seen[0]).mean() < 8


def test_a_card_says_what_it_was_trained_at_and_refuses_nonsense() -> None:
    assert Card.from_json(CARD.to_json()) == CARD
    assert Card.from_json(FAKE_CARD.to_json()).scale is None
    for wrong in ((0.0, 0.5, 0.2), (0.5, 0.05, 0.2), (0.05, 0.5, 0.0), (0.05, float("inf"), 0.2)):
        with pytest.raises(ValueError, match="a scale needs"):
            TrainedScale(*wrong)
    with pytest.raises(ValueError, match="has no working scale"):
        replace(CARD, input_policy=InputPolicy("resize"))
    wild = CARD.to_json().replace('"working":0.2', '"working":0.0001')
    with pytest.raises(UnusableCheckpointError, match=r"scale is 0\.0001, but must be between"):
        Card.from_json(wild)


@pytest.mark.data
@pytest.mark.slow
def test_a_400x_image_shrunk_to_the_scale_of_100x_is_judged_as_it_is_itself(shared_data: Path) -> None:
    from core.network.checkpoint import load_classifier  # noqa: PLC0415 - torch takes seconds, and most tests need none

    starter = Path("models/starter.safetensors")
    classifier = load_classifier(starter)
    if read_card(starter).scale is None:
        classifier = classifier.with_card(replace(classifier.card, scale=SCALE))
    differences = []
    for path in sorted(shared_data.glob("breakhis*/BreaKHis_v1/**/400X/*.png"))[::6]:
        pixels = decode_image(path.read_bytes()).pixels
        shrunk = np.asarray(Image.fromarray(pixels).resize((175, 115), Image.Resampling.BOX))
        whole, part = (
            analyse_image(one, classifier, heatmap=False, um_per_px=scale).prediction
            for one, scale in ((pixels, 0.05), (shrunk, 0.2))
        )
        assert whole is not None
        assert part is not None
        differences.append(abs(whole.malignant_probability - part.malignant_probability))
    assert len(differences) == 6
    assert max(differences) < 0.02
