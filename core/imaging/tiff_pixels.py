"""Convert the samples of a TIFF to sRGB pixels as its tags specify."""

from collections.abc import Iterator

import numpy as np

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError
from core.imaging.pixels import (
    BAND_PIXELS,
    CMYK_WITHOUT_PROFILE,
    Band,
    Samples,
    Samples8,
    ToSrgb,
    assemble_bands,
    check_full_range,
    lab_to_srgb,
    plain_to_srgb,
    profile_to_srgb,
    to_eight_bits,
    turn_upright,
)
from core.imaging.scale import Scale
from core.imaging.tiff import Tiff, open_tiff
from core.imaging.tiff_layout import Layout
from core.results import RgbImage

_CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # by photometric interpretation
_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK, _LAB = 0, 2, 3, 5, 8
_PREMULTIPLIED = 1


def decode_tiff(data: bytes) -> tuple[RgbImage, tuple[str, ...], Scale | None]:
    """Decode the picture of a TIFF to pixels, notes, and the scale that it states.

    Raises:
        UnreadableImageError: If anything is missing, or cannot be converted faithfully.
    """
    tiff = open_tiff(data)
    layout = tiff.layout
    channels = _colour_channels(layout)
    convert, colour_note = _conversion(tiff, channels)
    table = _palette(tiff)
    premultiplied = layout.extra_samples[:1] == (_PREMULTIPLIED,)
    bits = _white_bits(tiff)
    pixels, white_note = assemble_bands(
        layout.width, layout.height, _bands(tiff, channels, table, bits), convert, premultiplied=premultiplied
    )
    pixels, turn_note = turn_upright(pixels, layout.orientation)
    spare = ("an extra channel of unspecified meaning was ignored",) if layout.extra_samples[:1] == (0,) else ()
    return pixels, (*tiff.notes, *spare, *colour_note, *white_note, *turn_note), tiff.scale


def _colour_channels(layout: Layout) -> int:
    channels = _CHANNELS.get(layout.photometric)
    if channels is None or layout.samples not in (channels, channels + 1):
        raise UnreadableImageError(
            f"the TIFF has {layout.samples} channels of photometric kind {layout.photometric}, which is not supported. "
            f"{EXPORT_AGAIN}"
        )
    if layout.samples > channels and not layout.extra_samples:
        raise UnreadableImageError(f"the TIFF does not specify the meaning of its last channel. {EXPORT_AGAIN}")
    if layout.photometric == _LAB and layout.bits != 8:
        raise UnreadableImageError(f"the TIFF has L*a*b* colours of {layout.bits} bits instead of 8. {EXPORT_AGAIN}")
    return channels


def _conversion(tiff: Tiff, channels: int) -> tuple[ToSrgb, tuple[str, ...]]:
    if tiff.layout.photometric == _LAB:
        return lab_to_srgb(), ("converted from L*a*b* colours to sRGB",)
    if tiff.profile:
        convert, note = profile_to_srgb(tiff.profile, 3 if tiff.layout.photometric == _PALETTE else channels)
        return convert, (note,) if note else ()
    return plain_to_srgb, (CMYK_WITHOUT_PROFILE,) if tiff.layout.photometric == _CMYK else ()


def _palette(tiff: Tiff) -> Samples8 | None:
    if tiff.layout.photometric != _PALETTE:
        return None
    entries = 1 << tiff.layout.bits
    if tiff.layout.bits > 8 or len(tiff.colour_map) < 3 * entries:
        raise UnreadableImageError(f"the colour table of the TIFF is incomplete. {EXPORT_AGAIN}")
    wide = np.array(tiff.colour_map[: 3 * entries], np.uint32).reshape(3, entries).T
    # Older software fills the 16-bit table with 8-bit numbers; libtiff detects this in the same way.
    return (wide if wide.max() < 256 else (wide + 128) // 257).astype(np.uint8)


def _white_bits(tiff: Tiff) -> int:
    """Return the bits of white: those the file states, unless it holds larger samples."""
    layout = tiff.layout
    if layout.white_bits == layout.bits:
        return layout.bits
    largest = max(int(samples.max()) for _, samples in tiff.bands())
    return layout.white_bits if largest >> layout.white_bits == 0 else layout.bits


def _bands(tiff: Tiff, channels: int, table: Samples8 | None, bits: int) -> Iterator[Band]:
    layout, largest = tiff.layout, 0
    rows_at_once = max(1, BAND_PIXELS // layout.width)
    for top, whole in tiff.bands():
        for start in range(0, len(whole), rows_at_once):
            samples = whole[start : start + rows_at_once]
            if bits == 16:
                largest = max(largest, int(samples[..., :channels].max()))
            yield _band(samples, top + start, channels, layout, table, bits)
    if bits == 16:
        check_full_range(largest)


def _band(samples: Samples, top: int, channels: int, layout: Layout, table: Samples8 | None, bits: int) -> Band:
    if table is not None:
        return Band(top, table[samples[..., 0]])
    eight = to_eight_bits(samples, bits)
    colours = eight[..., :channels]
    if layout.photometric == _WHITE_IS_ZERO:
        colours = 255 - colours
    # An extra channel of unspecified meaning (0) is a mask or padding, not transparency.
    transparent = layout.samples > channels and layout.extra_samples[:1] in ((1,), (2,))
    return Band(top, colours, eight[..., channels] if transparent else None)
