"""Read the scale that an image file states: in the tags or the description of a TIFF, in a PNG, or in a JPEG.

A statement counts only if it gives pixels of a plausible size in a unit of length; pixels that are not square give a
note and no scale. What cannot be read is no statement: it must not stop an image whose pixels can be.
"""

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from core.imaging.jpeg import JFIF, header_markers
from core.imaging.limits import UnreadableImageError
from core.imaging.scale import Scale, ScaleSource, is_plausible
from core.imaging.tiff_tags import Tag, Tags

_MOST_DIFFERENT = 0.02  # between the two axes of one image, as a share
_MAX_XML = 1_000_000  # characters; a field of view takes a few thousand
_MAX_DESCRIPTION = 100_000  # characters of any other description
_CENTIMETRE, _INCH = 10_000.0, 25_400.0  # µm

# Units as ImageJ and OME-XML write them, in µm. ImageJ escapes the letter µ, and there are two of them in Unicode.
_UNITS: Mapping[str, float] = {
    "pm": 1e-6,
    **dict.fromkeys(("å", "angstrom", "angstroms", "ångström"), 1e-4),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers"), 1e-3),
    **dict.fromkeys(("um", "micron", "microns", "micrometer", "micrometre", "micrometers", "micrometres"), 1.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), _CENTIMETRE),
    **dict.fromkeys(("inch", "inches", "in"), _INCH),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
}
_TIFF_UNITS: Mapping[int, float] = {2: _INCH, 3: _CENTIMETRE}  # 1 is no unit: the numbers are a ratio
_JFIF_UNITS: Mapping[int, float] = {1: _INCH, 2: _CENTIMETRE}
_PNG_METRE = 1
_MICRO = re.compile("\\\\u00b5|[\u00b5\u03bc]", re.IGNORECASE)

_MPP = re.compile(r"\|\s*MPP\s*=\s*([^|\s]{1,40})")
# "46920x33014 [0,100 46000x32914] (256x256) -> 1024x732": the scan, the part of it in the file, and a smaller copy.
_APERIO_SCAN = re.compile(r"(\d{1,9})x(\d{1,9})")
_APERIO_PART = re.compile(r"\[-?\d{1,9},-?\d{1,9} (\d{1,9})x(\d{1,9})\]")
_APERIO_COPY = re.compile(r"-> ?(\d{1,9})x(\d{1,9})")
_FLOAT = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?")


@dataclass(frozen=True, slots=True)
class StatedScale:
    """What a file says of its scale, and a note if what it says cannot be used."""

    scale: Scale | None = None
    notes: tuple[str, ...] = ()


_NOTHING = StatedScale()


def read_tiff_scale(picture: Tags, first: Tags) -> StatedScale:
    """Return the scale of a TIFF's picture; `first` is the first page, whose OME-XML describes all of them.

    Of several statements the first counts: OME-XML, Aperio's description, ImageJ's, then the resolution tags.
    """
    for stated in (
        _read_ome(_describe(first), _size(picture)),
        _read_aperio(_describe(picture), _size(picture)),
        _read_imagej(_describe(picture), picture),
    ):
        if stated != _NOTHING:
            return stated
    return _read_resolution(picture)


def read_png_scale(density: bytes) -> StatedScale:
    """Return the scale in a PNG's chunk pHYs: pixels per metre along each axis."""
    if len(density) != 9:
        return _NOTHING
    across, down, unit = struct.unpack(">IIB", density)
    return _square("png", 1e6, across, down) if unit == _PNG_METRE else _NOTHING


def read_jpeg_scale(data: bytes) -> StatedScale:
    """Return the scale in a JPEG's JFIF marker: pixels per inch or centimetre along each axis."""
    for marker in header_markers(data):
        if marker.code == JFIF and marker.payload[:5] == b"JFIF\0" and len(marker.payload) >= 12:
            unit, across, down = struct.unpack_from(">BHH", marker.payload, 7)
            return _square("jpeg", _JFIF_UNITS[unit], across, down) if unit in _JFIF_UNITS else _NOTHING
    return _NOTHING


def _square(source: ScaleSource, unit: float, across: float, down: float) -> StatedScale:
    """Return the scale of so many pixels per unit along each axis."""
    if not (_is_positive(across) and _is_positive(down)):
        return _NOTHING
    return _of_pixel(source, unit / across, unit / down)


def _of_pixel(source: ScaleSource, width: float, height: float) -> StatedScale:
    """Return the scale of pixels of this width and height in µm."""
    if not (is_plausible(width) and is_plausible(height)):
        return _NOTHING
    if max(width, height) > (1 + _MOST_DIFFERENT) * min(width, height):
        note = (
            f"the file states pixels of {width:.3g} x {height:.3g} µm, which are not square, so its scale is not used"
        )
        return StatedScale(notes=(note,))
    return StatedScale(Scale(math.sqrt(width * height), source))


def _is_positive(number: float) -> bool:
    return math.isfinite(number) and number > 0


def _read_resolution(tags: Tags) -> StatedScale:
    unit = _TIFF_UNITS.get(_whole(tags, Tag.RESOLUTION_UNIT, 2))
    return _square("tiff", unit, *_resolutions(tags)) if unit else _NOTHING


def _resolutions(tags: Tags) -> tuple[float, float]:
    """Return the pixels per unit along each axis, nan where there is no number."""
    return _rational(tags, Tag.X_RESOLUTION), _rational(tags, Tag.Y_RESOLUTION)


def _rational(tags: Tags, tag: Tag) -> float:
    try:
        return tags.fraction(tag)
    except UnreadableImageError:
        return math.nan


def _whole(tags: Tags, tag: Tag, default: int) -> int:
    try:
        return tags.number(tag, default)
    except UnreadableImageError:
        return 0


def _size(tags: Tags) -> tuple[int, int]:
    return tags.number(Tag.WIDTH), tags.number(Tag.HEIGHT)


def _describe(tags: Tags) -> str:
    try:
        return tags.text(Tag.DESCRIPTION)
    except UnreadableImageError:
        return ""


def _read_imagej(description: str, tags: Tags) -> StatedScale:
    """Read ImageJ's unit; its tags then hold the pixels per unit, and no unit of their own."""
    if not description.startswith("ImageJ=") or len(description) > _MAX_DESCRIPTION:
        return _NOTHING
    stated: dict[str, str] = dict(re.findall(r"^(unit|yunit)=(.{1,40}?)\s*$", description, re.MULTILINE))
    across, down = _unit(stated.get("unit", "")), _unit(stated.get("yunit", stated.get("unit", "")))
    resolutions = _resolutions(tags)
    if not (across and down and all(map(_is_positive, resolutions))):
        return _NOTHING
    return _of_pixel("imagej", across / resolutions[0], down / resolutions[1])


def _unit(name: str) -> float | None:
    return _UNITS.get(_MICRO.sub("u", name.strip()).lower())


def _read_aperio(description: str, size: tuple[int, int]) -> StatedScale:
    """Read the micrometres per pixel of the scan, times the reduction if the page is a smaller copy of it."""
    if not description.startswith("Aperio") or len(description) > _MAX_DESCRIPTION:
        return _NOTHING
    stated = _MPP.search(description)
    reduction = _reduction(description, size)
    um_per_px = _float(stated[1]) if stated else math.nan
    if reduction is None or not _is_positive(um_per_px):
        return _NOTHING
    return _of_pixel("aperio", um_per_px * reduction, um_per_px * reduction)


def _reduction(description: str, size: tuple[int, int]) -> float | None:
    """Return how many pixels of the scan a pixel of the page is wide; None if another page is described."""
    line = next((line for line in description.splitlines()[:3] if _APERIO_SCAN.match(line)), "").split("|", 1)[0]
    part = _APERIO_PART.search(line) or _APERIO_SCAN.match(line)
    if part is None:
        return 1.0
    width, height = int(part[1]), int(part[2])
    copy = _APERIO_COPY.search(line)
    if copy is None:
        return 1.0 if size == (width, height) else None
    return width / size[0] if size == (int(copy[1]), int(copy[2])) else None


def _read_ome(description: str, size: tuple[int, int]) -> StatedScale:
    """Read the physical size in the OME-XML of the image of this size (OME data model 2016-06)."""
    # Without a DOCTYPE there are no entities, and nothing expands.
    if "<OME" not in description[:2000] or len(description) > _MAX_XML or "<!DOCTYPE" in description:
        return _NOTHING
    try:
        root = ElementTree.fromstring(description)  # noqa: S314
    except (ElementTree.ParseError, ValueError):
        return _NOTHING
    for pixels in root.iterfind("{*}Image/{*}Pixels"):
        if (pixels.get("SizeX"), pixels.get("SizeY")) == (str(size[0]), str(size[1])):
            return _ome_pixel(pixels)
    return _NOTHING


def _ome_pixel(pixels: ElementTree.Element) -> StatedScale:
    sides = []
    for axis in "XY":
        unit = _unit(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        side = _float(pixels.get(f"PhysicalSize{axis}", ""))
        if unit is None or not _is_positive(side):
            return _NOTHING
        sides.append(side * unit)
    return _of_pixel("ome", sides[0], sides[1])


def _float(text: str) -> float:
    return float(text) if _FLOAT.fullmatch(text.strip()) else math.nan
