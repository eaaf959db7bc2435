"""Image files become the pixels they mean, or a refusal that says why."""

import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from tests.helpers.images.odd_modes import ODD_MODES, adam7, png_chunk, raw_png, saved, smooth_colours, tiff
from tests.helpers.images.refusals import refusal


def rgb_file(kind: str, **options: object) -> bytes:
    return saved(Image.fromarray(smooth_colours()), kind, **options)


@pytest.mark.parametrize("mode", list(ODD_MODES))
def test_pixels_mean_the_same_in_every_mode(mode: str) -> None:
    data, means = ODD_MODES[mode]()
    decoded = decode_image(data)
    assert decoded.pixels.shape == means.shape
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert decoded.format == mode.split(maxsplit=1)[0]
    assert np.abs(decoded.pixels - means).mean() <= 2


def test_there_are_at_least_forty_odd_modes() -> None:
    assert len(ODD_MODES) >= 40


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright(kind: str, orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's transpositions, by EXIF number
    lying = Image.fromarray(smooth_colours())
    exif = Image.Exif()
    exif[274] = orientation
    upright = lying.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else lying
    data = saved(lying, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {"lossless": True}))
    decoded = decode_image(data)
    assert decoded.pixels.shape == np.asarray(upright).shape
    assert np.abs(decoded.pixels.astype(int) - np.asarray(upright)).mean() <= 2
    assert ("turned upright as the file specifies" in decoded.notes) == (orientation > 1)


def display_p3() -> bytes:
    """Build the matrix profile of Display P3 with gamma 2.2 (primaries of SMPTE EG 432-1, adapted to D50)."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 3) + b"P3\0" + bytes(78 + 11)
    parts = {
        b"desc": text[: len(text) // 4 * 4],
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.2412, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.1571, 0.06657, 0.78407),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    at, table, body = 128 + 4 + 12 * len(parts), b"", b""
    for name, part in parts.items():
        table += name + struct.pack(">II", at + len(body), len(part))
        body += part
    size = at + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(map(fixed, (0.9642, 1.0, 0.8249))) + bytes(48)
    return header[:128] + struct.pack(">I", len(parts)) + table + body


def linear_srgb_of_p3(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.array([[1.2249, -0.2247, 0.0], [-0.042, 1.042, 0.0], [-0.0196, -0.0786, 1.0979]])
    return matrix @ (colour / 255) ** 2.2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_display_p3_becomes_srgb(kind: str) -> None:
    colour = np.array([180, 120, 160])
    image = Image.new("RGB", (64, 64), tuple(int(c) for c in colour))
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True}
    decoded = decode_image(saved(image, kind, icc_profile=display_p3(), **options))
    linear = linear_srgb_of_p3(colour.astype(np.float64))
    srgb = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(decoded.pixels[5, 5] - srgb).max() <= 2
    assert any("P3" in note for note in decoded.notes)


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode_image(rgb_file("PNG", icc_profile=profile))
    assert np.array_equal(decoded.pixels, smooth_colours())
    assert decoded.notes == ()


def test_a_profile_of_other_colours_is_used_although_it_is_called_srgb() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # The primaries of Display P3, adapted to D50.
    primaries = {b"rXYZ": (0.515, 0.241, -0.001), b"gXYZ": (0.292, 0.692, 0.042), b"bXYZ": (0.157, 0.067, 0.784)}
    for tag, numbers in primaries.items():
        (at,) = struct.unpack_from(">I", profile, profile.index(tag) + 4)
        struct.pack_into(">3i", profile, at + 8, *(round(65536 * number) for number in numbers))
    source = ImageCms.ImageCmsProfile(io.BytesIO(bytes(profile)))
    assert ImageCms.getProfileDescription(source).startswith("sRGB")
    decoded = decode_image(rgb_file("PNG", icc_profile=bytes(profile)))
    means = ImageCms.profileToProfile(
        Image.fromarray(smooth_colours()), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert np.array_equal(decoded.pixels, np.asarray(means))
    assert decoded.notes == ("converted from the embedded profile to sRGB",)


def test_a_damaged_profile_is_left_out_and_said_so() -> None:
    decoded = decode_image(rgb_file("PNG", icc_profile=b"not a profile" * 20))
    assert np.array_equal(decoded.pixels, smooth_colours())
    assert decoded.notes == ("the colour profile is damaged and was ignored",)


@pytest.mark.parametrize(("kind", "word"), [("TIFF", "pages"), ("PNG", "animation"), ("WEBP", "animation")])
def test_the_first_of_several_pages_is_taken_and_said_so(kind: str, word: str) -> None:
    first, second = Image.fromarray(smooth_colours()), Image.new("RGB", (64, 48), "blue")
    decoded = decode_image(saved(first, kind, save_all=True, append_images=[second], lossless=True))
    assert np.abs(decoded.pixels.astype(int) - smooth_colours()).mean() <= 2
    assert any(word in note for note in decoded.notes)


def test_transparency_is_noted() -> None:
    data, _ = ODD_MODES["PNG RGB and alpha"]()
    assert decode_image(data).notes == ("transparent areas were placed on white",)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.98])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    data = rgb_file(kind)
    refusal(data[: int(len(data) * share)])


def test_a_truncated_file_says_how_much_of_it_is_there() -> None:
    data = tiff(smooth_colours(), photometric="rgb")
    assert f"ends after 5,000 of {len(data):,} bytes" in refusal(data[:5000])


def test_a_png_with_missing_rows_is_refused() -> None:
    rows = raw_png(smooth_colours()[:20], 2)
    taller = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)
    assert "Not enough image data" in refusal(rows[:8] + png_chunk(b"IHDR", taller) + rows[33:])


def test_an_interlaced_png_with_missing_rows_is_refused() -> None:
    rows = adam7(smooth_colours()[:40])
    taller = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 1)
    assert "bytes of pixels" in refusal(rows[:8] + png_chunk(b"IHDR", taller) + rows[33:])


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(rgb_file("PNG"))
    data[len(data) // 2] ^= 1
    assert "checksum" in refusal(bytes(data))


def test_a_jpeg_closed_too_early_is_refused_rather_than_filled_with_grey() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), "JPEG")
    assert "last part" in refusal(data[: len(data) // 2] + b"\xff\xd9")


def test_a_tiff_with_an_empty_strip_is_refused_rather_than_left_black() -> None:
    data = tiff(smooth_colours(), photometric="rgb", rowsperstrip=16, compression="deflate")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        counts, offsets = file.pages.first.tags[279], file.pages.first.tags[273]
    for values in (counts, offsets):
        size = values.valuebytecount // 3
        data = data[: values.valueoffset] + bytes(size) + data[values.valueoffset + size :]
    assert "is empty" in refusal(data)


def test_twelve_bits_stored_in_sixteen_are_refused_if_their_white_is_not_stated() -> None:
    samples = smooth_colours().astype(np.uint16) * np.uint16(16)
    assert "the white level is unknown" in refusal(tiff(samples, photometric="rgb"))
    assert "the white level is unknown" in refusal(raw_png(samples, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32])
def test_numbers_without_a_known_white_are_refused(dtype: type[np.generic]) -> None:
    assert "the white level is unknown" in refusal(tiff(smooth_colours().astype(dtype), photometric="rgb"))


def test_a_fully_transparent_image_is_refused() -> None:
    assert "transparent" in refusal(saved(Image.new("RGBA", (64, 64)), "PNG"))


def test_other_files_are_refused_by_name() -> None:
    assert "GIF" in refusal(rgb_file("GIF"))
    assert "PDF" in refusal(b"%PDF-1.7 and so on")
    assert "empty" in refusal(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_side_of_32_pixels_is_read_and_31_refused(kind: str) -> None:
    assert decode_image(saved(Image.new("RGB", (32, 40), "pink"), kind)).pixels.shape == (40, 32, 3)
    assert "31 x 40" in refusal(saved(Image.new("RGB", (31, 40), "pink"), kind))


def test_more_than_100_megapixels_are_refused_from_the_header() -> None:
    header = struct.pack(">IIBBBBB", 10_001, 10_000, 8, 2, 0, 0, 0)
    assert "megapixels" in refusal(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b""))


@pytest.mark.slow
def test_exactly_100_megapixels_are_read() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (10_000, 1_250), dtype=np.uint8)
    data = saved(Image.frombytes("1", (10_000, 10_000), noise.tobytes()), "PNG")
    assert decode_image(data).pixels.shape == (10_000, 10_000, 3)


def test_more_than_200_megabytes_are_refused() -> None:
    small = rgb_file("JPEG")
    assert "200 MB" in refusal(small + bytes(200_000_001 - len(small)))
    assert decode_image(small + bytes(1000)).format == "JPEG"


def test_texts_and_their_bombs_stay_behind() -> None:
    bomb = png_chunk(b"zTXt", b"note\0\0" + bytes(100_000))
    assert np.array_equal(decode_image(raw_png(smooth_colours(), 2, bomb)).pixels, smooth_colours())


@settings(max_examples=200)
@given(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP"]), st.integers(0, 400), st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(kind: str, at: int, junk: bytes) -> None:
    data = rgb_file(kind)
    for mutant in (junk, data[:at] + junk, data[:at] + junk + data[at + len(junk) :]):
        with contextlib.suppress(UnreadableImageError):
            assert min(decode_image(mutant).pixels.shape[:2]) >= 32


@pytest.mark.data
@pytest.mark.slow
def test_every_breakhis_image_decodes_as_pillow_does(shared_data: Path) -> None:
    files = sorted((shared_data / "breakhis").rglob("*.png"))
    assert files
    for file in files:
        decoded = decode_image(file.read_bytes())
        with Image.open(file) as image:
            assert np.array_equal(decoded.pixels, np.asarray(image.convert("RGB"))), file.name
        assert decoded.notes == ()
