"""Quality is said in words: what stops an analysis and what only stands beside it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core.card import QualityLimits
from core.imaging.demo import generate_tissue
from core.imaging.quality import assess_quality, tissue_fraction
from core.labels import Malignancy
from core.results import Quality, RgbImage

TISSUE = generate_tissue(3, "malignant")


def kinds(quality: Quality) -> list[str]:
    return [f"{finding.kind}: {finding.message.split(' (')[0]}" for finding in quality.findings]


def colour(red: int, green: int, blue: int, side: int = 200) -> RgbImage:
    noise = np.random.default_rng(0).integers(-30, 30, (side, side, 1))
    return np.clip(np.array([red, green, blue]) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("malignancy", ["benign", "malignant"])
@pytest.mark.parametrize("seed", range(6))
def test_generated_tissue_has_no_finding(seed: int, malignancy: Malignancy) -> None:
    assert assess_quality(generate_tissue(seed, malignancy)).findings == ()


def test_sharpness_is_the_variance_of_the_laplacian_at_full_size() -> None:
    grey = cv2.cvtColor(TISSUE, cv2.COLOR_RGB2GRAY)
    expected = cv2.Laplacian(grey, cv2.CV_64F).var()
    assert assess_quality(TISSUE).sharpness == pytest.approx(expected, rel=1e-9)


def test_background_is_above_220_in_all_three_channels() -> None:
    image = np.full((10, 10, 3), 221, dtype=np.uint8)
    assert tissue_fraction(image) == 0
    image[:3, :, 1] = 220
    assert tissue_fraction(image) == pytest.approx(0.3)


def test_a_blurred_image_is_readable_and_says_its_value_and_limit() -> None:
    quality = assess_quality(np.asarray(cv2.GaussianBlur(TISSUE, (0, 0), 3), dtype=np.uint8))
    assert quality.readable
    assert kinds(quality) == ["warning: blurred"]
    assert quality.findings[0].message == f"blurred ({int(quality.sharpness)}, limit 75)"


def test_the_limits_of_the_card_hold_on_both_sides() -> None:
    quality = assess_quality(TISSUE)
    at = QualityLimits(quality.sharpness, quality.tissue_fraction)
    above = QualityLimits(quality.sharpness + 0.01, min(1.0, quality.tissue_fraction + 0.001))
    assert assess_quality(TISSUE, at).findings == ()
    assert kinds(assess_quality(TISSUE, above)) == ["warning: blurred", "warning: sparse"]


def test_an_image_that_is_mostly_glass_is_sparse_but_readable() -> None:
    image = np.full_like(TISSUE, 240)
    image[:150] = TISSUE[:150]
    quality = assess_quality(image)
    assert quality.readable
    assert kinds(quality) == ["warning: sparse"]


def test_a_side_under_32_px_is_too_small() -> None:
    assert kinds(assess_quality(TISSUE[:31])) == ["unreadable: too small"]
    assert assess_quality(TISSUE[:32]).readable
    assert not assess_quality(TISSUE[:1, :1]).readable


def test_glass_is_blank_and_one_colour_is_flat() -> None:
    noise = np.random.default_rng(0).integers(-6, 7, (100, 100, 3))
    assert kinds(assess_quality((240 + noise).astype(np.uint8))) == ["unreadable: blank"]
    assert kinds(assess_quality(np.full((100, 100, 3), (180, 90, 160), np.uint8))) == ["unreadable: flat"]
    assert kinds(assess_quality(np.zeros((100, 100, 3), np.uint8))) == ["unreadable: flat"]


@pytest.mark.parametrize(
    "image",
    [
        colour(60, 140, 50),  # a lawn
        colour(120, 120, 120),  # a grey photograph
        colour(140, 95, 60),  # brown immunostain
        colour(110, 150, 210),  # a sky
        255 - TISSUE,
        np.repeat(TISSUE[..., 1:2], 3, axis=2),
    ],
    ids=["green", "grey", "brown", "sky", "negative", "grey tissue"],
)
def test_other_colours_than_those_of_haematoxylin_and_eosin_are_said(image: RgbImage) -> None:
    quality = assess_quality(np.ascontiguousarray(image))
    assert quality.readable
    assert "warning: not H&E-like" in kinds(quality)


@pytest.mark.data
@pytest.mark.slow
def test_no_real_image_is_taken_for_something_else_than_tissue(shared_data: Path) -> None:
    paths = sorted((shared_data / "breakhis").rglob("*.png"))
    assert paths
    for path in paths:
        quality = assess_quality(np.array(Image.open(path).convert("RGB")))
        assert quality.readable, path.name
        assert "warning: not H&E-like" not in kinds(quality), path.name
