"""A JPEG that lacks a part of its data is refused, wherever the part was; a preview is not taken for the picture."""

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from core.imaging import jpeg_scans
from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.imaging.jpeg import JpegMarker, header_markers
from core.imaging.jpeg_scans import read_scans
from tests.helpers.images.odd_modes import saved
from tests.helpers.images.odd_tiffs import jpeg_tiff
from tests.helpers.images.refusals import refusal

_END = b"\xff\xd9"
_YCBCR = 6  # photometric interpretation
_WIDTH, _HEIGHT = 160, 96


def tissue(width: int = _WIDTH, height: int = _HEIGHT) -> Image.Image:
    return Image.fromarray(generate_tissue(1, "malignant", 96, 160)[:height, :width])


def passes(data: bytes) -> list[int]:
    return [found.start() for found in re.finditer(b"\xff\xda", data)]


def restarts(data: bytes) -> list[int]:
    return [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", data)]


@pytest.mark.parametrize("last", range(1, 10))
def test_a_progressive_picture_without_its_last_passes_is_refused(last: int) -> None:
    data = saved(tissue(), "JPEG", progressive=True, quality=95)
    assert len(passes(data)) == 10
    assert "lacks its last passes, so it is blurred" in refusal(data[: passes(data)[last]] + _END)


def test_a_last_pass_that_is_cut_is_missed() -> None:
    data = saved(tissue(), "JPEG", progressive=True, quality=95)
    cut = data[: (passes(data)[-1] + len(data)) // 2].rstrip(b"\xff") + _END
    assert "the last part of the JPEG is missing" in refusal(cut)


def channel_by_channel() -> list[bytes]:
    """Return the header of a JPEG whose channels are passes of their own, and these passes."""
    channels = [saved(channel, "JPEG", quality=95) for channel in tissue().convert("YCbCr").split()]
    frame, scan = channels[0].index(b"\xff\xc0"), channels[0].index(b"\xff\xda")
    grey = channels[0][frame : frame + 10]
    three = b"\x00\x11" + grey[4:9] + b"\x03" + b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    header = channels[0][:frame] + b"\xff\xc0" + three + channels[0][frame + 13 : scan]
    passes = [data[data.index(b"\xff\xda") : -2] for data in channels]
    return [header, *(part[:5] + bytes([number]) + part[6:] for number, part in enumerate(passes, start=1))]


def test_a_jpeg_without_one_of_its_channels_is_refused() -> None:
    parts = channel_by_channel()
    whole = decode_image(b"".join(parts) + _END).pixels
    assert np.abs(whole.astype(int) - np.asarray(tissue())).mean() <= 4
    for lost in (1, 2, 3):
        data = b"".join(part for number, part in enumerate(parts) if number != lost) + _END
        assert "lacks one of its channels" in refusal(data)


def restarting(**options: object) -> bytes:
    return saved(tissue(), "JPEG", quality=95, subsampling=0, restart_marker_rows=1, **options)


def without_the_fourth_part(data: bytes) -> bytes:
    at = restarts(data)
    return data[: at[3]] + data[at[4] :]


def with_the_fourth_part_empty(data: bytes) -> bytes:
    at = restarts(data)
    return data[: at[3] + 2] + data[at[4] :]


def without_the_last_part(data: bytes) -> bytes:
    return data[: restarts(data)[-1]] + _END


def with_the_fourth_part_cut(data: bytes) -> bytes:
    at = restarts(data)
    return data[: (at[3] + at[4]) // 2].rstrip(b"\xff") + data[at[4] :]


@pytest.mark.parametrize("lacking", [without_the_fourth_part, with_the_fourth_part_empty, without_the_last_part])
def test_a_part_between_two_restart_markers_is_missed(lacking: Callable[[bytes], bytes]) -> None:
    assert "between two restart markers, is missing" in refusal(lacking(restarting()))


def test_a_part_between_two_restart_markers_that_is_cut_is_missed() -> None:
    assert "part of the JPEG is missing" in refusal(with_the_fourth_part_cut(restarting()))


@pytest.mark.parametrize("size", [(160, 96), (101, 77), (33, 47)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"restart_marker_blocks": 1},
        {"restart_marker_rows": 1},
        {"progressive": True, "restart_marker_blocks": 5},
    ],
)
def test_a_whole_jpeg_is_read(size: tuple[int, int], subsampling: int, options: dict[str, object]) -> None:
    for mode in ("RGB", "L", "CMYK"):
        data = saved(tissue(*size).convert(mode), "JPEG", subsampling=subsampling, **options)
        assert decode_image(data).pixels.shape == (size[1], size[0], 3)
        assert read_scans(data) is not None


def test_a_strip_of_a_tiff_that_is_cut_is_missed() -> None:
    jpeg = saved(tissue(), "JPEG", quality=95, subsampling=0)
    assert decode_image(jpeg_tiff(jpeg, _YCBCR, _WIDTH, _HEIGHT)).pixels.shape == (_HEIGHT, _WIDTH, 3)
    cut = jpeg[: int(0.6 * len(jpeg))].rstrip(b"\xff") + _END
    assert "last part of the JPEG is missing" in refusal(jpeg_tiff(cut, _YCBCR, _WIDTH, _HEIGHT))


def test_a_larger_picture_behind_a_preview_is_not_left_out() -> None:
    preview, picture = saved(tissue(64, 40), "JPEG"), saved(tissue(), "JPEG")
    said = "begins with a picture of 64 x 40 pixels, and a larger one of 160 x 96 follows"
    assert said in refusal(preview + picture)
    assert said in refusal(preview + bytes(100) + picture)


def test_a_smaller_picture_behind_the_first_is_told() -> None:
    preview, picture = saved(tissue(64, 40), "JPEG"), saved(tissue(), "JPEG")
    decoded = decode_image(picture + preview)
    assert np.array_equal(decoded.pixels, decode_image(picture).pixels)
    assert decoded.notes == ("only the first of several images is used",)
    both = saved(tissue(), "MPO", save_all=True, append_images=[tissue()])
    assert decode_image(both).notes == ("only the first of several images is used",)


@pytest.mark.parametrize("behind", [b"\0" * 99, b"\0\0\0\x18ftypmp42", b"\xff\xd8\xff\xe0 no picture", _END])
def test_other_data_behind_a_picture_are_no_picture(behind: bytes) -> None:
    assert decode_image(saved(tissue(), "JPEG") + behind).notes == ()


def test_many_damaged_starts_behind_a_picture_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def counted(data: bytes, at: int = 2, most: int = 10_000) -> Iterator[JpegMarker]:
        for marker in header_markers(data, at, most):
            looked_at.append(marker)
            yield marker

    monkeypatch.setattr(jpeg_scans, "header_markers", counted)
    assert decode_image(saved(tissue(), "JPEG") + b"\xff\xe0\x00\x05\xff\xd8\xff" * 3000).notes == ()
    assert 300 < len(looked_at) <= 20 * 300


def test_a_preview_in_the_header_is_no_picture_of_its_own() -> None:
    preview = saved(tissue(64, 40), "JPEG")
    data = saved(tissue(), "JPEG")
    segment = b"\xff\xe1" + (len(preview) + 8).to_bytes(2, "big") + b"Thumb\0" + preview
    assert decode_image(data[:2] + segment + data[2:]).notes == ()
