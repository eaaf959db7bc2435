"""Which grey pages of a TIFF are the red, green and blue of one picture, as ImageJ and OME-TIFF state it."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError
from core.imaging.tiff_tags import Tag, Tags

_MAX_XML = 4_000_000  # characters
_COLOUR_NAMES = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2}
_OME_COLOURS = {0xFF0000: 0, 0x00FF00: 1, 0x0000FF: 2}  # without the last byte, which is transparency
_LUT_BYTES = 768  # of one table of ImageJ: 256 reds, 256 greens, 256 blues


@dataclass(frozen=True, slots=True)
class Channels:
    """The indices of the pages of red, green and blue."""

    pages: tuple[int, int, int]


def read_channels(first: Tags) -> Channels | None:
    """Return which pages are the colours; None if the pages of the file are not channels.

    Raises:
        UnreadableImageError: If the pages are channels, but not the red, green and blue of one picture.
    """
    description = first.text(Tag.DESCRIPTION)
    if description.startswith("ImageJ="):
        return _imagej_channels(description, first)
    if "<OME" in description[:2000]:
        return _ome_channels(description)
    return None


def count_stated(first: Tags) -> int:
    """Return how many pictures the description says that the file holds; ImageJ lists only the first as a page."""
    description = first.text(Tag.DESCRIPTION)
    if description.startswith("ImageJ="):
        stated = re.search(r"^images=(\d{1,9})\s*$", description, re.MULTILINE)
        return int(stated[1]) if stated else 1
    # tifffile's own description of an array, such as {"shape": [5, 96, 160, 3], "truncated": true}
    shape = re.match(r'\{"shape": \[(\d{1,9}), \d+, \d+(?:, [34])?\]', description)
    return int(shape[1]) if shape and '"truncated": true' in description else 1


def _imagej_channels(description: str, first: Tags) -> Channels | None:
    """Read ImageJ's lines of key and value; channels are its fastest dimension, then slices, then frames."""
    stated = dict(re.findall(r"^(\w+)=(.*?)\r?$", description, re.MULTILINE))
    number = int(stated["channels"]) if stated.get("channels", "1").isdecimal() and "channels" in stated else 1
    if number == 1:
        return None
    _require_three(number)
    if stated.get("mode", "composite") not in ("composite", "color"):
        raise _unknown_colours()
    tables = _imagej_tables(first)
    # Without tables ImageJ shows the channels of a composite in red, green and blue.
    return _in_order([_colour_of_table(table) for table in tables] if tables else [0, 1, 2], [0, 1, 2])


def _imagej_tables(first: Tags) -> list[bytes]:
    """Return the colour tables among ImageJ's binary metadata (MetadataEncoder of ImageJ: the letters IJIJ)."""
    counts, packed = first.numbers(Tag.IMAGEJ_COUNTS), first.raw(Tag.IMAGEJ)
    if not counts or packed[:4] not in (b"IJIJ", b"JIJI"):
        return []
    kinds = [
        (packed[at : at + 4], struct.unpack_from(first.order + "I", packed, at + 4)[0])
        for at in range(4, min(counts[0], len(packed)) - 7, 8)
    ]
    at, index, tables = counts[0], 1, []
    for kind, number in kinds:
        for size in counts[index : index + number]:
            if kind in (b"luts", b"stul"):
                tables.append(packed[at : at + size])
            at += size
        index += number
    return tables


def _colour_of_table(table: bytes) -> int | None:
    """Return 0, 1 or 2 for a table that goes from black to red, green or blue; None for any other."""
    if len(table) != _LUT_BYTES:
        return None
    ramps = np.frombuffer(table, np.uint8).reshape(3, 256)
    full = [channel for channel in range(3) if np.array_equal(ramps[channel], np.arange(256))]
    others = [channel for channel in range(3) if not ramps[channel].any()]
    return full[0] if len(full) == 1 and len(others) == 2 else None


def _ome_channels(description: str) -> Channels | None:
    """Read the OME-XML of the first image of the file (OME data model 2016-06)."""
    if len(description) > _MAX_XML or "<!DOCTYPE" in description:
        raise UnreadableImageError(f"the description of the OME-TIFF is too long or unsafe to read. {EXPORT_AGAIN}")
    try:
        # Without a DOCTYPE there are no entities, and nothing expands.
        pixels = ElementTree.fromstring(description).find("{*}Image/{*}Pixels")  # noqa: S314
    except ElementTree.ParseError:
        pixels = None
    if pixels is None:
        raise UnreadableImageError(f"the description of the OME-TIFF is damaged. {EXPORT_AGAIN}")
    channels = pixels.findall("{*}Channel")
    sizes = {axis: _whole(pixels.get(f"Size{axis}", "1")) for axis in "CZT"}
    if any(_whole(channel.get("SamplesPerPixel", "1")) > 1 for channel in channels) or sizes["C"] == 1:
        return None
    _require_three(sizes["C"])
    if len(channels) != sizes["C"]:
        raise _unknown_colours()
    return _in_order([_ome_colour(channel) for channel in channels], _ome_pages(pixels, sizes))


def _ome_colour(channel: ElementTree.Element) -> int | None:
    """Return 0, 1 or 2 for the channel of red, green or blue, by its colour or else by its name."""
    colour = channel.get("Color", "")
    if re.fullmatch(r"-?\d{1,10}", colour) and int(colour) != -1:  # -1 is white, and what is meant by none
        return _OME_COLOURS.get((int(colour) & 0xFFFFFFFF) >> 8)
    return _COLOUR_NAMES.get(channel.get("Name", "").strip().casefold())


def _ome_pages(pixels: ElementTree.Element, sizes: dict[str, int]) -> list[int]:
    """Return the page of each channel in the first plane, by the list of pages or else by the order of dimensions."""
    listed = {
        _whole(part.get("FirstC", "0")): _whole(part.get("IFD", "0"))
        for part in pixels.findall("{*}TiffData")
        if part.get("FirstC") is not None and part.get("FirstZ", "0") == "0" == part.get("FirstT", "0")
    }
    if set(listed) >= {0, 1, 2}:
        return [listed[channel] for channel in range(3)]
    order = pixels.get("DimensionOrder", "XYCZT")
    step = 1
    for axis in order[2:]:
        if axis == "C":
            break
        step *= sizes.get(axis, 1)
    return [channel * step for channel in range(3)]


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise UnreadableImageError(f"the description of the OME-TIFF is damaged. {EXPORT_AGAIN}")
    return int(text)


def _in_order(colours: Sequence[int | None], pages: Sequence[int]) -> Channels:
    if sorted(colour for colour in colours if colour is not None) != [0, 1, 2]:
        raise _unknown_colours()
    red, green, blue = (pages[colours.index(colour)] for colour in range(3))
    return Channels((red, green, blue))


def _require_three(number: int) -> None:
    if number != 3:
        raise UnreadableImageError(
            f"the TIFF has {number} channels on pages of their own instead of one colour picture. {EXPORT_AGAIN}"
        )


def _unknown_colours() -> UnreadableImageError:
    return UnreadableImageError(
        f"the TIFF has three grey channels and does not say which are red, green and blue. {EXPORT_AGAIN}"
    )
