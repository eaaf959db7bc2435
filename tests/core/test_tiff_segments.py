"""Strips and tiles are found where tags are wrong, unpacked by the method they name, and never left black."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from core.imaging.decode import decode_image
from tests.helpers.images.odd_modes import png_chunk, raw_png, smooth_colours, tiff
from tests.helpers.images.odd_tiffs import STRIP_COUNTS, TILE_COUNTS, TILE_OFFSETS, with_numbers, without_tag
from tests.helpers.images.refusals import refusal

_LARGEST_SAMPLE = 281
_COMPRESSION = 259
_STRIP_OFFSETS = 273
LAYOUTS: dict[str, dict[str, object]] = {
    "one strip": {"rowsperstrip": 48},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
}
WRONG: dict[str, Callable[[list[int]], list[int]]] = {
    "all zero": lambda counts: [0] * len(counts),
    "one zero": lambda counts: [0, *counts[1:]],
    "too large": lambda counts: [2 * count + 40_000 for count in counts],
}


@pytest.mark.parametrize("packing", [None, "lzw", "deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_wrong_byte_counts_do_not_change_a_pixel(layout: str, packing: str | None) -> None:
    data = tiff(smooth_colours(), photometric="rgb", compression=packing, **LAYOUTS[layout])
    means, tag = decode_image(data).pixels, TILE_COUNTS if layout == "tiles" else STRIP_COUNTS
    for change in WRONG.values():
        assert np.array_equal(decode_image(with_numbers(data, tag, change)).pixels, means)
    assert np.array_equal(decode_image(without_tag(data, tag)).pixels, means)


@pytest.mark.parametrize("packing", [None, "lzw", "deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.995])
def test_a_file_without_byte_counts_is_refused_when_cut_short(packing: str | None, share: float) -> None:
    data = tiff(smooth_colours(), photometric="rgb", compression=packing, rowsperstrip=48)
    refusal(with_numbers(data, STRIP_COUNTS, WRONG["all zero"])[: int(share * len(data))])


def test_strips_that_share_bytes_are_refused() -> None:
    data = tiff(smooth_colours(), photometric="rgb", rowsperstrip=16)
    moved = with_numbers(data, _STRIP_OFFSETS, lambda offsets: [offsets[0], offsets[1] - 10, offsets[2] - 10])
    assert "begins inside another one" in refusal(moved)


def test_tiles_that_are_alike_may_be_stored_once() -> None:
    colours = smooth_colours()
    colours[:16, 32:] = colours[:16, :32]
    data = tiff(colours, photometric="rgb", tile=(16, 32))
    once = with_numbers(data, TILE_OFFSETS, lambda offsets: [offsets[0], offsets[0], *offsets[2:]])
    assert np.array_equal(decode_image(once).pixels, colours)


def test_cmyk_in_jpeg_is_named() -> None:
    inks = np.dstack([smooth_colours(), smooth_colours()[..., 0]])
    assert "JPEG data of CMYK" in refusal(tiff(inks, photometric="separated", compression="jpeg"))


def test_a_strip_that_ends_where_the_next_begins_may_state_less() -> None:
    data = tiff(smooth_colours(), photometric="rgb", rowsperstrip=16)
    stated = with_numbers(data, STRIP_COUNTS, lambda counts: [counts[0] - 1, counts[1] - 700, counts[2]])
    assert np.array_equal(decode_image(stated).pixels, smooth_colours())
    last = with_numbers(data, STRIP_COUNTS, lambda counts: [*counts[:2], counts[2] - 1])
    assert "has only 3,071 of 3,072 bytes" in refusal(last)


def test_tiles_are_found_under_the_tags_of_strips() -> None:
    data = tiff(smooth_colours(), photometric="rgb", tile=(16, 32))
    for tag, name in ((TILE_OFFSETS, _STRIP_OFFSETS), (TILE_COUNTS, STRIP_COUNTS)):
        at = data.index(struct.pack("<H", tag), 8)
        data = data[:at] + struct.pack("<H", name) + data[at + 2 :]
    assert np.array_equal(decode_image(data).pixels, smooth_colours())


@pytest.mark.parametrize("packing", ["zstd", "lzma", "jpeg2000", "webp"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_newer_ways_of_packing_are_read(layout: str, packing: str) -> None:
    exact: dict[str, object] = {"compressionargs": {"lossless": True}} if packing == "webp" else {}
    data = tiff(smooth_colours(), photometric="rgb", compression=packing, **exact, **LAYOUTS[layout])
    assert np.array_equal(decode_image(data).pixels, smooth_colours())


def test_sixteen_bits_are_read_from_jpeg_2000_and_zstd() -> None:
    wide = smooth_colours().astype(np.uint16) * np.uint16(257)
    for options in ({"compression": "jpeg2000"}, {"compression": "zstd", "predictor": True}):
        data = tiff(wide, photometric="rgb", **options)
        assert np.array_equal(decode_image(data).pixels, smooth_colours())


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (4, "CCITT fax"),
        (6, "the old form of JPEG"),
        (34887, "LERC"),
        (50002, "JPEG XL"),
        (33003, "Aperio"),
        (999, "999"),
    ],
)
def test_a_way_of_packing_that_is_not_read_is_named(number: int, name: str) -> None:
    data = tiff(smooth_colours(), photometric="rgb")
    assert name in refusal(with_numbers(data, _COMPRESSION, lambda _: [number]))


def test_a_predictor_that_is_not_read_is_named() -> None:
    numbers = (smooth_colours() / 255).astype(np.float32)
    said = refusal(tiff(numbers, photometric="rgb", compression="deflate", predictor=3))
    assert "predictor (that for floating-point numbers)" in said


def test_ycbcr_channels_that_are_stored_apart_are_not_taken_for_rgb() -> None:
    planes = np.moveaxis(smooth_colours(), 2, 0).copy()
    data = tiff(planes, photometric="rgb", planarconfig="separate", compression="jpeg")
    assert np.abs(decode_image(data).pixels.astype(int) - smooth_colours()).mean() <= 3
    assert "uses YCbCr colours with each channel apart" in refusal(with_numbers(data, 262, lambda _: [6]))


def test_a_picture_inside_of_another_size_is_refused() -> None:
    for packing in ("jpeg2000", "webp"):
        data = tiff(smooth_colours(), photometric="rgb", compression=packing)
        assert "wrong size" in refusal(with_numbers(data, 257, lambda _: [47]))


@pytest.mark.parametrize("packing", [None, "deflate", "jpeg"])
def test_a_tile_that_a_scanner_left_out_is_glass_and_said_so(packing: str | None) -> None:
    data = tiff(smooth_colours(), photometric="rgb", compression=packing, tile=(16, 32))
    means = decode_image(data).pixels.copy()
    for tag in (TILE_COUNTS, TILE_OFFSETS):
        data = with_numbers(data, tag, lambda values: [values[0], 0, *values[2:]])
    decoded = decode_image(data)
    means[:16, 32:] = 255
    assert np.array_equal(decoded.pixels, means)
    assert decoded.notes == ("1 of 6 tiles are not in the file and were left white",)


@pytest.mark.parametrize("packing", [None, "deflate", "jpeg"])
def test_a_tile_without_bytes_is_not_its_neighbour(packing: str | None) -> None:
    data = tiff(smooth_colours(), photometric="rgb", compression=packing, tile=(16, 32))
    means = decode_image(data).pixels.copy()
    data = with_numbers(data, TILE_COUNTS, lambda counts: [counts[0], 0, *counts[2:]])
    data = with_numbers(data, TILE_OFFSETS, lambda offsets: [offsets[0], offsets[2], *offsets[2:]])
    means[:16, 32:] = 255
    assert np.array_equal(decode_image(data).pixels, means)


@pytest.mark.parametrize("packing", [None, "deflate", "jpeg"])
def test_a_strip_without_bytes_is_not_its_neighbour(packing: str | None) -> None:
    data = tiff(smooth_colours(), photometric="rgb", compression=packing, rowsperstrip=16)
    data = with_numbers(data, STRIP_COUNTS, lambda counts: [counts[0], 0, counts[2]])
    refusal(with_numbers(data, _STRIP_OFFSETS, lambda offsets: [offsets[0], offsets[2], offsets[2]]))
    refusal(with_numbers(data, _STRIP_OFFSETS, lambda offsets: [offsets[0], offsets[2] - 20, offsets[2]]))


def test_a_file_without_any_tile_is_refused() -> None:
    data = tiff(smooth_colours(), photometric="rgb", tile=(16, 32))
    for tag in (TILE_COUNTS, TILE_OFFSETS):
        data = with_numbers(data, tag, lambda values: [0] * len(values))
    assert "none of the tiles" in refusal(data)


def twelve_bits() -> NDArray[np.uint16]:
    return np.rint(smooth_colours() / 255 * 4095).astype(np.uint16)


def test_twelve_bits_in_sixteen_are_read_if_the_file_states_their_white() -> None:
    stated = tiff(twelve_bits(), photometric="rgb", extratags=[(_LARGEST_SAMPLE, "H", 3, (4095,) * 3, True)])
    assert np.array_equal(decode_image(stated).pixels, smooth_colours())
    bits = png_bits(12)
    assert np.array_equal(decode_image(raw_png(twelve_bits(), 2, bits)).pixels, smooth_colours())


def test_the_largest_sample_that_occurs_is_not_a_white() -> None:
    largest = int(twelve_bits().max())
    assert largest < 4095
    data = tiff(twelve_bits(), photometric="rgb", extratags=[(_LARGEST_SAMPLE, "H", 3, (largest,) * 3, True)])
    assert "the white level is unknown" in refusal(data)


def test_a_stated_white_that_is_exceeded_is_not_believed() -> None:
    wide = smooth_colours().astype(np.uint16) * np.uint16(257)
    data = tiff(wide, photometric="rgb", extratags=[(_LARGEST_SAMPLE, "H", 3, (4095,) * 3, True)])
    assert np.array_equal(decode_image(data).pixels, smooth_colours())
    assert np.array_equal(decode_image(raw_png(wide, 2, png_bits(12))).pixels, smooth_colours())


def test_a_dark_png_that_is_scaled_as_the_format_wants_is_not_brightened() -> None:
    dark = (twelve_bits() // 16) << np.uint16(4)
    assert "the white level is unknown" in refusal(raw_png(dark, 2, png_bits(12)))


def png_bits(bits: int) -> bytes:

    return png_chunk(b"sBIT", bytes([bits] * 3))
