"""Open the picture of a TIFF, and read it band by band."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError
from core.imaging.pixels import Samples
from core.imaging.scale import Scale
from core.imaging.scale_tags import read_tiff_scale
from core.imaging.tiff_jpeg import JpegDecoder, choose_decoder
from core.imaging.tiff_layout import JPEG, Layout, read_layout
from core.imaging.tiff_pages import choose_picture
from core.imaging.tiff_segments import Segment, find_segments, glass, unpack_segment
from core.imaging.tiff_tags import Tag, Tags

_GREY, _RGB = 1, 2  # photometric interpretation


@dataclass(frozen=True, slots=True)
class _Plane:
    """One page with its packed strips or tiles."""

    layout: Layout
    segments: tuple[Segment, ...]
    jpeg: JpegDecoder | None

    def bands(self) -> Iterator[tuple[int, Samples]]:
        layout, planes = self.layout, self.layout.samples if self.layout.planar else 1
        for row in range(layout.down):
            parts = [
                np.concatenate([self._segment(plane, row, column) for column in range(layout.across)], axis=1)
                if layout.across > 1
                else self._segment(plane, row, 0)
                for plane in range(planes)
            ]
            band = np.concatenate(parts, axis=2) if planes > 1 else parts[0]
            top = row * layout.segment_height
            yield top, band[: min(layout.segment_height, layout.height - top), : layout.width]

    def _segment(self, plane: int, row: int, column: int) -> Samples:
        layout, rows = self.layout, self.layout.rows(row)
        segment = self.segments[(plane * layout.down + row) * layout.across + column]
        if self.jpeg is None:
            return unpack_segment(segment, rows, layout)
        return glass(rows, layout) if segment.data is None else self.jpeg.decode(bytes(segment.data), rows, layout)


@dataclass(frozen=True, slots=True)
class Tiff:
    """The picture of a TIFF, checked but not yet decoded; `notes` say what is not as its file states."""

    layout: Layout
    colour_map: tuple[int, ...]
    profile: bytes
    scale: Scale | None
    notes: tuple[str, ...]
    _planes: tuple[_Plane, ...]

    def bands(self) -> Iterator[tuple[int, Samples]]:
        """Yield, from the top, the first row and the samples (rows x width x channels) of each row of segments."""
        if len(self._planes) == 1:
            yield from self._planes[0].bands()
            return
        for parts in zip(*(plane.bands() for plane in self._planes), strict=True):
            yield parts[0][0], np.concatenate([samples for _, samples in parts], axis=2)


def open_tiff(data: bytes) -> Tiff:
    """Choose the picture of a TIFF, read its tags, and check that every pixel can be decoded.

    Raises:
        UnreadableImageError: If it is damaged, cut short, beyond the limits, or of an unsupported kind.
    """
    picture = choose_picture(data)
    planes = tuple(_open_plane(data, tags) for tags in picture.planes)
    first = picture.planes[0]
    stated = read_tiff_scale(first, picture.first)
    return Tiff(
        _join([plane.layout for plane in planes]),
        first.numbers(Tag.COLOUR_MAP),
        first.raw(Tag.PROFILE),
        stated.scale,
        (*picture.notes, *_note_planes(planes), *stated.notes),
        planes,
    )


def _open_plane(data: bytes, tags: Tags) -> _Plane:
    layout = read_layout(tags, len(data))
    segments = find_segments(data, tags, layout)
    if layout.compression != JPEG:
        return _Plane(layout, segments, None)
    tables = tags.raw(Tag.JPEG_TABLES)[2:-2]  # without their start and end markers
    present = [segment.data for segment in segments if segment.data is not None]
    return _Plane(layout, segments, choose_decoder(present, tables, layout))


def _join(layouts: Sequence[Layout]) -> Layout:
    """Return the layout of a colour picture whose channels are pages."""
    if len(layouts) == 1:
        return layouts[0]
    if len(set(layouts)) > 1 or layouts[0].photometric != _GREY or layouts[0].samples != 1:
        raise UnreadableImageError(f"the channels of the TIFF differ in size or kind. {EXPORT_AGAIN}")
    return replace(layouts[0], samples=3, photometric=_RGB)


def _note_planes(planes: Sequence[_Plane]) -> tuple[str, ...]:
    notes = [plane.jpeg.note for plane in planes if plane.jpeg and plane.jpeg.note]
    missing = sum(segment.data is None for plane in planes for segment in plane.segments)
    if missing:
        total = sum(len(plane.segments) for plane in planes)
        notes.append(f"{missing:,} of {total:,} tiles are not in the file and were left white")
    return tuple(notes)
