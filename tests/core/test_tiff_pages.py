"""The picture of a TIFF is found among thumbnails, smaller copies and channels, or the file is refused."""

import numpy as np
import pytest
from numpy.typing import NDArray

from core.imaging.decode import decode_image
from core.results import RgbImage
from tests.helpers.images.odd_modes import smooth_colours, tiff
from tests.helpers.images.odd_tiffs import Pages, channels_tiff, pages_tiff
from tests.helpers.images.refusals import refusal

_SMALLER_COPY, _MASK = 1, 4  # marks of a page


def large() -> RgbImage:
    return np.tile(smooth_colours(), (2, 2, 1))


def ramp(channel: int) -> RgbImage:
    table = np.zeros((3, 256), np.uint8)
    table[channel] = np.arange(256)
    return table


FOUND: dict[str, tuple[Pages, str]] = {
    "a thumbnail first, marked": (
        ((smooth_colours(), {"subfiletype": _SMALLER_COPY}), (large(), {})),
        "page 2 is used, 128 x 96 pixels; page 1 is a smaller copy",
    ),
    "a thumbnail first, not marked": (
        ((smooth_colours(), {}), (large(), {})),
        "only page 2 is used, the largest of 2: 128 x 96 pixels",
    ),
    "a marked preview, the picture inside": (
        ((smooth_colours(), {"subfiletype": _SMALLER_COPY, "subifds": 1}), (large(), {})),
        "the inner picture is used, 128 x 96 pixels; page 1 is a smaller copy",
    ),
    "a preview that is not marked, the picture inside": (
        ((smooth_colours(), {"subifds": 1}), (large(), {})),
        "only the inner picture is used, the largest of 2: 128 x 96 pixels",
    ),
    "a thumbnail after the picture, not marked": (
        ((large(), {}), (smooth_colours(), {})),
        "only the first of 2 pages is used",
    ),
    "a mask first, not marked": (
        ((np.full((96, 128), 255, np.uint8), {"photometric": "minisblack"}), (large(), {})),
        "only page 2 is used, the largest in colour of 2: 128 x 96 pixels",
    ),
    "a mask of one bit first, not marked": (
        ((np.ones((96, 128), bool), {"photometric": "minisblack"}), (large(), {})),
        "only page 2 is used, the largest in colour of 2: 128 x 96 pixels",
    ),
    "a larger mask behind the picture, not marked": (
        ((large(), {}), (np.zeros((192, 256), np.uint8), {"photometric": "minisblack"})),
        "only the first of 2 pages is used",
    ),
    "three pictures of one size": (
        ((large(), {}), (large()[::-1], {}), (large()[:, ::-1], {})),
        "only the first of 3 pages is used",
    ),
}


@pytest.mark.parametrize("kind", FOUND)
def test_the_whole_picture_is_taken_and_what_is_left_out_is_said(kind: str) -> None:
    pages, note = FOUND[kind]
    decoded = decode_image(pages_tiff(pages))
    assert np.array_equal(decoded.pixels, large())
    assert decoded.notes == (note,)


def test_a_coloured_preview_of_a_grey_picture_is_not_the_picture() -> None:
    grey = np.tile(smooth_colours()[..., 0], (3, 3))
    data = pages_tiff([(smooth_colours(), {}), (grey, {"photometric": "minisblack"})])
    assert np.array_equal(decode_image(data).pixels, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("options", [{"imagej": True, "metadata": {"axes": "ZYXS"}}, {"photometric": "rgb"}])
def test_pictures_that_no_page_lists_are_told(options: dict[str, object]) -> None:
    stack = np.stack([smooth_colours(), smooth_colours()[::-1], smooth_colours()])
    decoded = decode_image(tiff(stack, truncate=True, **options))
    assert np.array_equal(decoded.pixels, smooth_colours())
    assert decoded.notes == ("the file says that it holds 3 pictures and lists 1; the others are not used",)
    assert decode_image(tiff(stack, **options)).notes == ("only the first of 3 pages is used",)


def test_channels_that_no_page_lists_are_not_half_a_picture() -> None:
    metadata = {"axes": "CYX", "mode": "composite"}
    said = refusal(channels_tiff(smooth_colours(), imagej=True, metadata=metadata, truncate=True))
    assert "lists only 1 of its 3 channels" in said


def test_smaller_copies_and_masks_beside_the_picture_need_no_note() -> None:
    smaller: dict[str, object] = {"subfiletype": _SMALLER_COPY}
    mask = (np.ones((200, 200), bool), {"subfiletype": _MASK, "photometric": "minisblack"})
    inside = pages_tiff([(large(), {"subifds": 1}), (smooth_colours(), smaller)])
    beside = pages_tiff([(large(), {}), (smooth_colours(), smaller), mask])
    for data in (inside, beside):
        decoded = decode_image(data)
        assert np.array_equal(decoded.pixels, large())
        assert decoded.notes == ()


def test_a_link_to_a_page_that_is_not_there_costs_the_page_and_not_the_picture() -> None:
    data = pages_tiff([(large(), {}), (large()[::-1], {})])
    second = _second_page(data)
    link = data.index(second.to_bytes(4, "little"))
    decoded = decode_image(data[:link] + (2**31).to_bytes(4, "little") + data[link + 4 :])
    assert np.array_equal(decoded.pixels, large())
    assert decoded.notes == ("a further page of the file is damaged and was left out",)


def test_a_preview_whose_picture_is_cut_off_is_not_the_picture() -> None:
    data = pages_tiff([(smooth_colours(), {"subfiletype": _SMALLER_COPY}), (large(), {})])
    assert "its picture is missing" in refusal(data[: _second_page(data)])


def _second_page(data: bytes) -> int:
    """Return where the tags of the second page begin: two bytes count them, and the first is its width of 128."""
    return data.rindex(b"\x00\x01\x04\x00\x01\x00\x00\x00\x80") - 2


COMPOSED: dict[str, dict[str, object]] = {
    "ImageJ": {"imagej": True, "metadata": {"axes": "CYX", "mode": "composite"}},
    "ImageJ, big-endian, with tables": {
        "imagej": True,
        "byteorder": ">",
        "metadata": {"axes": "CYX", "mode": "composite", "LUTs": [ramp(0), ramp(1), ramp(2)]},
    },
    "OME-TIFF by names": {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}},
    "OME-TIFF by colours": {
        "ome": True,
        "metadata": {"axes": "CYX", "Channel": {"Color": [-16776961, 16711935, 65535]}},
    },
}


@pytest.mark.parametrize("kind", COMPOSED)
def test_three_grey_pages_become_the_colour_picture_that_they_are(kind: str) -> None:
    decoded = decode_image(channels_tiff(smooth_colours(), **COMPOSED[kind]))
    assert np.array_equal(decoded.pixels, smooth_colours())
    assert decoded.notes == ("its grey pages were put together as red, green and blue",)


def test_the_order_of_channels_is_that_of_their_colours() -> None:
    backwards = smooth_colours()[..., ::-1].copy()
    tables = {"axes": "CYX", "mode": "composite", "LUTs": [ramp(2), ramp(1), ramp(0)]}
    names = {"axes": "CYX", "Channel": {"Name": ["B", "G", "R"]}}
    for data in (
        channels_tiff(backwards, imagej=True, metadata=tables),
        channels_tiff(backwards, ome=True, metadata=names),
    ):
        assert np.array_equal(decode_image(data).pixels, smooth_colours())


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX"])
def test_the_channels_of_the_first_plane_are_taken_wherever_they_lie(axes: str) -> None:
    planes = np.moveaxis(smooth_colours(), 2, 0)
    stack = np.stack([planes, planes[:, ::-1]], axis=axes.index("Z"))
    metadata = {"axes": axes, "Channel": {"Name": ["R", "G", "B"]}}
    decoded = decode_image(tiff(stack, ome=True, photometric="minisblack", metadata=metadata))
    assert np.array_equal(decoded.pixels, smooth_colours())
    assert decoded.notes[1] == "only the first 3 of 6 pages are used"


UNKNOWN: dict[str, tuple[dict[str, object], str]] = {
    "no word of them": ({}, "does not say whether they are"),
    "ImageJ, grey": ({"imagej": True, "metadata": {"axes": "CYX", "mode": "grayscale"}}, "does not say which"),
    "ImageJ, in other colours": (
        {"imagej": True, "metadata": {"axes": "CYX", "mode": "composite", "LUTs": [ramp(0), ramp(0), ramp(1)]}},
        "does not say which",
    ),
    "ImageJ, depths": ({"imagej": True, "metadata": {"axes": "ZYX"}}, "does not say whether they are"),
    "OME-TIFF, stains": (
        {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC", "TRITC"]}}},
        "does not say which",
    ),
    "OME-TIFF, nothing": ({"ome": True, "metadata": {"axes": "CYX"}}, "does not say which"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_three_grey_pages_of_unknown_colours_are_refused(kind: str) -> None:
    options, words = UNKNOWN[kind]
    assert words in refusal(channels_tiff(smooth_colours(), **options))


@pytest.mark.parametrize("place", [0, 3])
def test_three_grey_pages_beside_a_preview_in_colour_are_refused(place: int) -> None:
    pages: list[tuple[NDArray[np.uint8], dict[str, object]]] = [
        (large()[..., channel].copy(), {"photometric": "minisblack"}) for channel in range(3)
    ]
    pages.insert(place, (large()[::3, ::3].copy(), {}))
    assert "does not say whether they are" in refusal(pages_tiff(pages))


def test_four_channels_are_not_a_colour_picture() -> None:
    four = np.dstack([smooth_colours(), smooth_colours()[..., 0]])
    words = refusal(channels_tiff(four, imagej=True, metadata={"axes": "CYX", "mode": "composite"}))
    assert "4 channels" in words
