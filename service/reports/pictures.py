"""The pictures of a report: an image with the regions that were marked on it, its heat map, and the colours of maps."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from core.heatmaps import colour_bar, decode_heatmap, overlay, shrink_onto, thumbnail
from core.images import decode_image
from core.results import RgbImage
from db.export_values import ExportedImage, ExportedMap
from db.files import Files
from db.reading_values import Region, RegionKind
from service.reports.regions import outline

OPACITY = 0.45  # of a heat map on its image
_QUALITY = 88  # of JPEG
_INK, _HALO = (255, 255, 255), (20, 20, 20)
_MARK = 7  # px; half the length of the cross of a point
_TEXT = 22  # px


def picture_of(files: Files, image: ExportedImage, side: int, regions: Sequence[tuple[str, Region]] = ()) -> bytes:
    """Give an image, its longest side at most `side` px, with regions and their short names drawn on it.

    Raises:
        DamagedFileError: If it is missing on the disk or not what was stored.
    """
    shrunk = thumbnail(decode_image(files.get(image.file_sha256)).pixels, side)
    if not regions:
        return _jpeg(shrunk)
    drawn = Image.fromarray(shrunk)
    pen, scale = ImageDraw.Draw(drawn), shrunk.shape[1] / image.width
    font = ImageFont.load_default(size=_TEXT)
    for name, region in regions:
        _draw_region(pen, [(x * scale, y * scale) for x, y in _line(region)], point=region.kind is RegionKind.POINT)
        x, y = region.points[0]
        place = (min(x * scale + 4, shrunk.shape[1] - 3 * _TEXT), max(0, y * scale - _TEXT - 6))
        pen.text(place, name, fill=_INK, stroke_fill=_HALO, stroke_width=3, font=font)
    return _encoded(drawn)


def map_picture(files: Files, image: ExportedImage, found: ExportedMap, side: int) -> bytes:
    """Give an image with its heat map over it, in the colours of the whole range of that map.

    Raises:
        DamagedFileError: If a file is missing on the disk or not what was stored.
        ValueError: If the stored map is none of ours.
    """
    shrunk = thumbnail(decode_image(files.get(image.file_sha256)).pixels, side)
    heatmap = shrink_onto(decode_heatmap(files.get(found.file_sha256)), shrunk)
    return _jpeg(overlay(shrunk, heatmap, OPACITY, span=(found.low, found.high)))


def colours() -> bytes:
    """Give the colours of heat maps from the smallest evidence to the largest."""
    return _jpeg(colour_bar(256, 8))


def _line(region: Region) -> list[tuple[float, float]]:
    return list(region.points) if region.kind is RegionKind.POINT else outline(region)


def _draw_region(pen: ImageDraw.ImageDraw, line: list[tuple[float, float]], *, point: bool) -> None:
    strokes = [line]
    if point:
        ((x, y),) = line
        strokes = [[(x - _MARK, y), (x + _MARK, y)], [(x, y - _MARK), (x, y + _MARK)]]
    # Light on dark, so that it is seen on every tissue and in print.
    for colour, width in ((_HALO, 5), (_INK, 2)):
        for stroke in strokes:
            pen.line(stroke, fill=colour, width=width, joint="curve")


def _jpeg(pixels: RgbImage) -> bytes:
    return _encoded(Image.fromarray(pixels))


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
