"""Decode the JPEG strips and tiles of a TIFF, in the colours that they really have.

The TIFF says whether three channels are RGB or YCbCr, and so may the JPEG inside. Programs that write one and mean
the other are common; decoders that believe the TIFF show wrong colours without a word.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from core.imaging.jpeg import ADOBE, JFIF, Colours, Statement, header_markers, read_statement
from core.imaging.jpeg_scans import check_data, read_scans
from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError
from core.imaging.pixels import Samples, Samples8
from core.imaging.tiff_layout import Layout

_YCBCR = 6  # photometric interpretation
_LOOKED_AT = 9  # strips or tiles, from all over the picture
_SAMPLE_SIDE = 64  # px; they are decoded that small if the decoder can
_NEUTRAL = 128
# Colours taken for YCbCr that are not lie outside RGB. Of 497 real fields, these limits tell 480 stored as RGB and 495
# stored as YCbCr; the rest they do not tell, and none wrongly.
_MARGIN = 40
_OUTSIDE_IF_RGB, _OUTSIDE_IF_YCBCR = 0.1, 0.01
_TINT = 0.6  # the deviation of both colour differences over that of brightness is below this in YCbCr


@dataclass(frozen=True, slots=True)
class JpegDecoder:
    """How to decode every JPEG strip or tile of one picture; `note` says if the TIFF is not believed."""

    tables: bytes  # markers that all of them share
    colours: Colours | None  # None unless there are three channels
    note: str | None = None

    def decode(self, segment: bytes, rows: int, layout: Layout) -> Samples:
        """Return the samples (rows x width x channels) of a strip or tile.

        Raises:
            UnreadableImageError: If it has another size or other channels than the TIFF says.
        """
        whole = _restate(segment, self.tables, self.colours)
        with Image.open(io.BytesIO(whole), formats=["JPEG"]) as image:
            if image.width != layout.segment_width or not rows <= image.height <= max(rows, layout.segment_height):
                raise UnreadableImageError("a strip or tile of the TIFF has the wrong size. Export it again.")
            image.load()
            check_data(whole, read_scans(whole), image)
            samples = np.asarray(image)
        samples = samples[:rows].reshape(rows, layout.segment_width, -1)
        if layout.channels > 3:
            raise UnreadableImageError(f"the TIFF contains JPEG data of CMYK, which is not supported. {EXPORT_AGAIN}")
        if samples.shape[2] != layout.channels:
            raise UnreadableImageError(f"the TIFF contains JPEG data with unexpected colours. {EXPORT_AGAIN}")
        return samples


def choose_decoder(segments: Sequence[memoryview], tables: bytes, layout: Layout) -> JpegDecoder:
    """Decide whether the channels of the strips or tiles are RGB or YCbCr.

    Raises:
        UnreadableImageError: If the TIFF and the JPEG data disagree, and their colours do not tell who is right.
    """
    if layout.channels != 3 or layout.photometric not in (2, _YCBCR):
        return JpegDecoder(tables, Colours.YCBCR if layout.photometric == _YCBCR else Colours.RGB)
    tag = Colours.YCBCR if layout.photometric == _YCBCR else Colours.RGB
    statement = read_statement([*header_markers(b"\xff\xd8" + tables), *header_markers(bytes(segments[0]))])
    if tag is Colours.RGB and statement.colours in (None, tag):
        return JpegDecoder(tables, tag)
    looks = _judge([bytes(segment) for segment in segments[:: -(-len(segments) // _LOOKED_AT)]], tables)
    colours = _settle(tag, statement, looks)
    if colours is None:
        raise UnreadableImageError(
            f"the colours of the TIFF are unclear: it calls them {tag.value}, but its JPEG data say otherwise. "
            f"{EXPORT_AGAIN}"
        )
    note = f"the colours are read as {colours.value}, although the file says {tag.value}"
    return JpegDecoder(tables, colours, note if colours is not tag else None)


def _settle(tag: Colours, statement: Statement, looks: Colours | None) -> Colours | None:
    """Return which of three witnesses to believe: the TIFF, the JPEG, and the colours themselves."""
    if looks is tag:
        return tag
    if looks is None:
        return None if statement.sure and statement.colours is not tag else tag
    return None if statement.sure and statement.colours is tag else looks


def _judge(segments: Sequence[bytes], tables: bytes) -> Colours | None:
    """Return what the channels look like; None if they may be either."""
    parts = [_decode_small(_restate(segment, tables, Colours.RGB)).reshape(-1, 3) for segment in segments]
    values = np.concatenate(parts).astype(np.float32)
    luma, blue, red = values[:, 0], values[:, 1] - _NEUTRAL, values[:, 2] - _NEUTRAL
    # ITU-T T.871 (JFIF), section 7.
    rgb = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue])
    outside = float(((rgb < -_MARGIN) | (rgb > 255 + _MARGIN)).any(axis=0).mean())
    if outside > _OUTSIDE_IF_RGB:
        return Colours.RGB
    tinted = max(float(blue.std()), float(red.std())) > _TINT * float(luma.std())
    return Colours.YCBCR if outside < _OUTSIDE_IF_YCBCR and not tinted else None


def _decode_small(data: bytes) -> Samples8:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        image.draft("RGB", (_SAMPLE_SIDE, _SAMPLE_SIDE))
        samples: Samples8 = np.asarray(image)
    if samples.ndim != 3 or samples.shape[2] != 3:
        raise UnreadableImageError(f"the TIFF contains JPEG data with unexpected colours. {EXPORT_AGAIN}")
    return samples


def _restate(segment: bytes, tables: bytes, colours: Colours | None) -> bytes:
    """Return a whole JPEG with the tables in it, whose only statement of its colours is ours."""
    adobe = b"\xff\xee\x00\x0eAdobe" + struct.pack(">HHHB", 100, 0, 0, int(colours is Colours.YCBCR))
    markers = list(header_markers(segment))
    body = segment[markers[-1].end :] if markers else b""
    return b"".join([b"\xff\xd8", adobe, *_without_colours(b"\xff\xd8" + tables), *_without_colours(segment), body])


def _without_colours(data: bytes) -> list[bytes]:
    return [data[m.start : m.end] for m in header_markers(data) if m.code not in (JFIF, ADOBE)]
