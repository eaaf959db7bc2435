"""Stain normalisation agrees with its peers, and leaves alone what has no stain."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import color
from torchstain.base.normalizers import MacenkoNormalizer

from core.card import StainTarget
from core.imaging.demo import generate_tissue
from core.imaging.stain import Macenko, Reinhard, make_stain_normaliser
from core.labels import Malignancy
from core.results import RgbImage

PUBLISHED = Reinhard(StainTarget("reinhard").means, StainTarget("reinhard").deviations)
SCALE, OFFSET = np.array([2.55, 1, 1]), np.array([0, 128, 128])
GLASS = (240 + np.random.default_rng(0).integers(-4, 5, (80, 90, 3))).astype(np.uint8)


def lab_of(image: RgbImage) -> NDArray[np.float64]:
    """LAB in OpenCV's 8-bit units, by scikit-image."""
    return np.asarray(color.rgb2lab(image) * SCALE + OFFSET, dtype=np.float64)


def reinhard_by_scikit_image(image: RgbImage, target: Reinhard) -> RgbImage:
    lab = lab_of(image)
    standard = (lab - lab.mean((0, 1))) / lab.std((0, 1))
    moved = standard * np.array(target.deviations) + np.array(target.means)
    rgb = color.lab2rgb((moved - OFFSET) / SCALE)
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * 255), dtype=np.uint8)


def difference(first: RgbImage, second: RgbImage) -> NDArray[np.int16]:
    return np.asarray(np.abs(first.astype(np.int16) - second), dtype=np.int16)


def real_images(folder: Path, every: int) -> list[RgbImage]:
    paths = sorted((folder / "breakhis").rglob("*.png"))[::every]
    assert paths
    return [np.array(Image.open(path).convert("RGB")) for path in paths]


def assert_like_scikit_image(image: RgbImage) -> None:
    # Colours outside sRGB are cut off a little differently by the two: at most one value in ten thousand.
    far = difference(PUBLISHED.transform(image), reinhard_by_scikit_image(image, PUBLISHED)) > 1
    assert far.mean() <= 1e-4


def assert_like_torchstain(image: RgbImage) -> None:
    peer, _, _ = MacenkoNormalizer(backend="numpy").normalize(image, stains=False)
    assert difference(Macenko().transform(image), peer).max() <= 3


@pytest.mark.parametrize("malignancy", ["benign", "malignant"])
def test_reinhard_is_within_one_grey_level_of_scikit_image(malignancy: Malignancy) -> None:
    assert_like_scikit_image(generate_tissue(5, malignancy))


@pytest.mark.parametrize("malignancy", ["benign", "malignant"])
def test_macenko_is_within_three_grey_levels_of_torchstain(malignancy: Malignancy) -> None:
    assert_like_torchstain(generate_tissue(5, malignancy))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_both_agree_with_their_peers_on_real_images(shared_data: Path) -> None:
    for image in real_images(shared_data, every=30):
        assert_like_scikit_image(image)
        assert_like_torchstain(image)


def test_reinhard_reaches_its_target_where_nothing_is_cut_off() -> None:
    image = generate_tissue(1, "malignant")
    target = Reinhard((150.0, 150.0, 115.0), (20.0, 6.0, 4.0))
    lab = lab_of(target.transform(image))
    assert lab.mean((0, 1)) == pytest.approx(target.means, abs=0.5)
    assert lab.std((0, 1)) == pytest.approx(target.deviations, abs=0.5)


def test_reinhard_measures_in_opencv_8_bit_lab_over_the_whole_image() -> None:
    image = generate_tissue(1, "benign")
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    found = Reinhard.fit(image)
    assert found.means == pytest.approx(lab.mean((0, 1)), abs=0.6)
    assert found.deviations == pytest.approx(lab.std((0, 1)), abs=0.6)


@pytest.mark.parametrize("method", [Reinhard, Macenko])
def test_an_image_brought_to_its_own_colours_stays_itself(method: type[Reinhard] | type[Macenko]) -> None:
    image = generate_tissue(2, "malignant")
    change = difference(method.fit(image).transform(image), image)
    assert np.percentile(change, 90) <= 8
    assert change.mean() < 4


@pytest.mark.parametrize("method", [Reinhard, Macenko])
def test_two_stainings_of_one_tissue_come_closer(method: type[Reinhard] | type[Macenko]) -> None:
    image = generate_tissue(2, "malignant")
    other = np.clip(240 * (image / 240) ** 1.3, 0, 255).astype(np.uint8)  # the same stains, a third more of them
    target = method.fit(image)
    change = target.transform(other).mean((0, 1)) - target.transform(image).mean((0, 1))
    # Macenko calls another part of the image glass when there is more stain, so its colours come only nearer.
    assert np.abs(change).max() < 0.7 * np.abs(other.mean((0, 1)) - image.mean((0, 1))).max()
    assert difference(target.transform(image), target.transform(other)).mean() < 0.7 * difference(image, other).mean()


@pytest.mark.parametrize("target", [PUBLISHED, Macenko()])
def test_an_image_without_tissue_is_returned_as_it_is(target: Reinhard | Macenko) -> None:
    assert np.array_equal(target.transform(GLASS), GLASS)


@pytest.mark.parametrize("method", [Reinhard, Macenko])
def test_an_image_without_tissue_cannot_be_a_target(method: type[Reinhard] | type[Macenko]) -> None:
    with pytest.raises(ValueError, match="without tissue"):
        method.fit(GLASS)


def test_one_stain_alone_is_left_alone_by_macenko() -> None:
    grey = np.repeat(generate_tissue(1, "malignant")[..., :1], 3, axis=2)
    assert np.array_equal(Macenko().transform(grey), grey)
    with pytest.raises(ValueError, match="does not show two distinct stains"):
        Macenko.fit(grey)


@pytest.mark.parametrize("target", [PUBLISHED, Macenko()])
@pytest.mark.parametrize("level", [0, 1, 128, 220])
def test_a_flat_image_and_a_single_pixel_come_out_as_pixels(target: Reinhard | Macenko, level: int) -> None:
    for shape in ((50, 60, 3), (1, 1, 3)):
        image = np.full(shape, level, dtype=np.uint8)
        out = target.transform(image)
        assert out.shape == image.shape
        assert out.dtype == np.uint8


def test_the_image_given_is_not_changed() -> None:
    image = generate_tissue(1, "benign")
    before = image.copy()
    for target in (PUBLISHED, Macenko()):
        target.transform(image)
    assert np.array_equal(image, before)


def test_the_card_says_which_normalisation_is_applied() -> None:
    image = generate_tissue(4, "malignant")
    found = Macenko.fit(generate_tissue(5, "benign"))
    fitted = StainTarget("macenko", stain_matrix=found.stain_matrix, concentrations=found.concentrations)
    assert make_stain_normaliser(None)(image) is image
    assert np.array_equal(make_stain_normaliser(StainTarget("reinhard"))(image), PUBLISHED.transform(image))
    assert np.array_equal(make_stain_normaliser(StainTarget("macenko"))(image), Macenko().transform(image))
    assert np.array_equal(make_stain_normaliser(fitted)(image), found.transform(image))


def test_targets_that_divide_by_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="deviations"):
        Reinhard((1, 1, 1), (1, 0, 1))
    with pytest.raises(ValueError, match="concentrations"):
        Macenko(concentrations=(0, 1))
