"""JPEGs that other decoders read are read, cut ones are refused, and colours are those in the data."""

import re
import struct

import numpy as np
import pytest
from PIL import Image

from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.results import RgbImage
from tests.helpers.images.odd_modes import saved, smooth_colours
from tests.helpers.images.odd_tiffs import jpeg_of, jpeg_tiff, rgb_as_ycbcr
from tests.helpers.images.refusals import refusal

_RGB, _YCBCR = 2, 6  # photometric interpretation
_WIDTH, _HEIGHT = 128, 96


def between_segments(data: bytes, stray: bytes) -> bytes:
    """Put bytes between the first segments of a JPEG."""
    (length,) = struct.unpack_from(">H", data, 4)
    return data[: 4 + length] + stray + data[4 + length :]


@pytest.mark.parametrize("stray", [b"\0", b"?>", b"\xff\0", bytes(500), b"\xff\xff\xff"])
def test_stray_bytes_between_segments_change_nothing(stray: bytes) -> None:
    data = saved(Image.fromarray(smooth_colours()), "JPEG")
    assert np.array_equal(decode_image(between_segments(data, stray)).pixels, decode_image(data).pixels)


def test_the_size_in_a_header_with_stray_bytes_is_still_checked() -> None:
    small = saved(Image.new("RGB", (31, 40), "pink"), "JPEG")
    assert "31 x 40" in refusal(between_segments(small, b"?>"))


@pytest.mark.parametrize(
    ("at", "value", "name"),
    [(1, 0xC3, "lossless"), (1, 0xC5, "hierarchical"), (1, 0xF7, "JPEG-LS"), (4, 12, "12 bits")],
)
def test_a_way_of_coding_that_is_not_read_is_named(at: int, value: int, name: str) -> None:
    data = bytearray(saved(Image.fromarray(smooth_colours()), "JPEG"))
    data[data.index(b"\xff\xc0") + at] = value
    assert name in refusal(bytes(data))


def noise_and_margin(side: str) -> RgbImage:
    picture = np.full((192, 192, 3), 128, np.uint8)
    noise = np.random.default_rng(3).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    rows, columns = {"below": (slice(96), slice(None)), "right": (slice(None), slice(96)), "all": (slice(0), slice(0))}[
        side
    ]
    picture[rows, columns] = noise[rows, columns]
    return picture


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_grey_margin_is_read_and_a_cut_file_with_the_same_look_is_refused(
    mode: str, options: dict[str, object]
) -> None:
    for side in ("below", "right"):
        data = saved(Image.fromarray(noise_and_margin(side)).convert(mode), "JPEG", **options)
        assert decode_image(data).pixels.shape == (192, 192, 3)
        assert decode_image(data + b"appended").pixels.shape == (192, 192, 3)
    whole = saved(
        Image.fromarray(np.random.default_rng(3).integers(0, 256, (192, 192, 3), np.uint8)), "JPEG", **options
    )
    for share in (0.3, 0.6, 0.9):
        cut = whole[: int(len(whole) * share)].rstrip(b"\xff") + b"\xff\xd9"
        assert re.search("last passes|last part|between two restart markers", refusal(cut))


def test_a_progressive_file_cut_in_its_first_pass_is_refused() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (192, 192, 3), np.uint8)
    data = saved(Image.fromarray(noise), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    assert "lacks its last passes" in refusal(data[: first + 300].rstrip(b"\xff") + b"\xff\xd9")


def tissue() -> RgbImage:
    return generate_tissue(1, "malignant", _HEIGHT, _WIDTH)


def wrapped(jpeg: bytes, photometric: int) -> bytes:
    return jpeg_tiff(jpeg, photometric, _WIDTH, _HEIGHT)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("jfif", [True, False])
@pytest.mark.parametrize("photometric", [_RGB, _YCBCR])
def test_ycbcr_data_are_read_as_such_whatever_the_tiff_says(photometric: int, jfif: bool, subsampling: int) -> None:
    jpeg = jpeg_of(Image.fromarray(tissue()), jfif=jfif, subsampling=subsampling)
    decoded = decode_image(wrapped(jpeg, photometric))
    assert np.abs(decoded.pixels.astype(int) - tissue()).mean() <= 6
    note = "the colours are read as YCbCr, although the file says RGB"
    assert decoded.notes == ((note,) if photometric == _RGB else ())


@pytest.mark.parametrize("photometric", [_RGB, _YCBCR])
def test_rgb_data_are_read_as_such_whatever_the_tiff_says(photometric: int) -> None:
    decoded = decode_image(wrapped(jpeg_of(rgb_as_ycbcr(tissue()), jfif=False), photometric))
    assert np.abs(decoded.pixels.astype(int) - tissue()).mean() <= 6
    note = "the colours are read as RGB, although the file says YCbCr"
    assert decoded.notes == ((note,) if photometric == _YCBCR else ())


def test_colours_that_no_ycbcr_can_be_are_refused_if_both_files_say_ycbcr() -> None:
    assert "are unclear" in refusal(wrapped(jpeg_of(rgb_as_ycbcr(tissue())), _YCBCR))


def test_an_empty_slide_is_read_in_the_colours_it_states() -> None:
    empty = np.full((_HEIGHT, _WIDTH, 3), 240, np.uint8)
    decoded = decode_image(wrapped(jpeg_of(Image.fromarray(empty), jfif=False), _YCBCR))
    assert np.abs(decoded.pixels.astype(int) - 240).max() <= 2
    assert decoded.notes == ()
