"""Heat maps keep their logits in files, and are scaled once for display."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import (
    decode_heatmap,
    encode_heatmap,
    encode_png,
    make_thumbnail,
    overlay_heatmap,
    paint_preview,
    scale_to_grey,
)
from core.results import Heatmap


def ramp(height: int = 40, width: int = 60, low: float = -1.5, high: float = 2.5) -> Heatmap:
    return np.linspace(low, high, height * width, dtype=np.float32).reshape(height, width)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=150), elements=st.floats(width=32)))
def test_a_heatmap_comes_back_bit_for_bit(heatmap: Heatmap) -> None:
    assert decode_heatmap(encode_heatmap(heatmap)).tobytes() == heatmap.tobytes()


def test_a_heatmap_file_is_a_compressed_tiff() -> None:
    data = encode_heatmap(np.zeros((460, 700), dtype=np.float32))
    assert data[:4] == b"II*\0"
    assert len(data) < 20_000


def test_damaged_bytes_are_refused_as_a_value_error() -> None:
    data = encode_heatmap(ramp())
    random = np.random.default_rng(0)
    for _ in range(200):
        mutant = bytearray(data[: random.integers(1, len(data))])
        mutant[random.integers(len(mutant))] ^= 1 << random.integers(8)
        try:
            decode_heatmap(bytes(mutant))
        except ValueError as error:
            assert "heat map" in str(error)  # noqa: PT017 - most mutants fail, a few are still a map


@pytest.mark.parametrize("data", [b"", b"II*\0", b"not a tiff at all"])
def test_other_bytes_are_not_a_heatmap(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a heat map"):
        decode_heatmap(data)


def test_a_png_keeps_every_pixel_and_the_order_of_colours() -> None:
    image = generate_tissue(1, "malignant")
    assert np.array_equal(np.array(Image.open(BytesIO(encode_png(image)))), image)
    grey = image[..., 1].copy()
    assert np.array_equal(np.array(Image.open(BytesIO(encode_png(grey)))), grey)


def test_a_png_holds_nothing_but_pixels() -> None:
    data = encode_png(generate_tissue(1, "benign", 64, 64))
    for metadata in (b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"tIME", b"pHYs"):
        assert metadata not in data


def test_grey_levels_span_the_range_of_the_map_and_name_it() -> None:
    grey, low, high = scale_to_grey(ramp())
    assert (low, high) == (-1.5, 2.5)
    assert (grey.min(), grey.max()) == (0, 255)
    assert grey.dtype == np.uint8
    assert np.abs(low + grey / 255 * (high - low) - ramp()).max() <= (high - low) / 510 + 1e-6


def test_a_map_without_spread_is_cold() -> None:
    grey, low, high = scale_to_grey(np.full((10, 10), 3.0, dtype=np.float32))
    assert (low, high) == (3, 3)
    assert not grey.any()


def test_grey_levels_of_a_large_map_are_small_but_keep_its_range() -> None:
    heatmap = np.zeros((1500, 3000), dtype=np.float32)
    heatmap[700, 1500] = 9
    grey, low, high = scale_to_grey(heatmap)
    assert grey.shape == (512, 1024)
    assert (low, high) == (0, 9)
    assert 0 < grey.max() < 255


def test_an_overlay_is_cividis_in_rgb() -> None:
    painted = overlay_heatmap(np.zeros((40, 60, 3), dtype=np.uint8), ramp(), opacity=1)
    assert painted[0, 0, 2] > painted[0, 0, 0]  # cold is blue
    assert painted[-1, -1, 0] > 200 > painted[-1, -1, 2]  # hot is yellow


def test_an_overlay_of_no_opacity_is_the_image() -> None:
    image = generate_tissue(1, "benign", 64, 80)
    assert np.array_equal(overlay_heatmap(image, ramp(64, 80), opacity=0), image)


def test_a_map_of_another_size_or_an_odd_opacity_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit an"):
        overlay_heatmap(np.zeros((40, 61, 3), dtype=np.uint8), ramp())
    with pytest.raises(ValueError, match="opacity"):
        overlay_heatmap(np.zeros((40, 60, 3), dtype=np.uint8), ramp(), opacity=1.1)


def test_a_thumbnail_shrinks_to_its_side_and_never_enlarges() -> None:
    assert make_thumbnail(np.zeros((460, 700, 3), dtype=np.uint8)).shape == (168, 256, 3)
    assert make_thumbnail(np.zeros((5, 5000, 3), dtype=np.uint8)).shape == (1, 256, 3)
    assert make_thumbnail(np.zeros((50, 60, 3), dtype=np.uint8)).shape == (50, 60, 3)


def test_a_preview_is_painted_as_its_image_would_be() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    grey = np.linspace(0, 255, 2400).reshape(40, 60).astype(np.uint8)
    painted = decode_image(paint_preview(encode_png(image), encode_png(grey), 0.5)).pixels
    np.testing.assert_array_equal(painted, overlay_heatmap(image, grey.astype(np.float32), 0.5))


def test_a_map_of_another_size_is_laid_over_the_whole_preview() -> None:
    image, grey = np.full((40, 60, 3), 200, np.uint8), np.tile(np.arange(61, dtype=np.uint8) * 4, (41, 1))
    painted = decode_image(paint_preview(encode_png(image), encode_png(grey))).pixels
    assert painted.shape == image.shape
    assert painted[:, 0, 2].mean() != painted[:, -1, 2].mean()


@pytest.mark.parametrize("damaged", [b"", b"no image"])
def test_what_is_no_preview_is_refused(damaged: bytes) -> None:
    good = encode_png(np.zeros((4, 4, 3), np.uint8))
    for pair in ((damaged, good), (good, damaged)):
        with pytest.raises(ValueError, match="not a preview image"):
            paint_preview(*pair)
