"""Put converted bands of an image together and turn the whole upright."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.decoding.colour import Samples8, ToSrgb, on_white
from core.decoding.limits import EXPORT_AGAIN, UnreadableImageError
from core.results import RgbImage

ON_WHITE = "transparent parts lie on white"
TURNED = "turned upright as the file asks"
BAND_PIXELS = 1 << 21  # converted at once, so that the conversion costs little memory beside the image itself


@dataclass(frozen=True, slots=True)
class Band:
    """Some rows of an image before conversion: rows x width x channels, and the alpha of each pixel."""

    top: int
    colours: Samples8
    alpha: Samples8 | None = None


def assemble(
    width: int, height: int, bands: Iterable[Band], convert: ToSrgb, *, premultiplied: bool = False
) -> tuple[RgbImage, tuple[str, ...]]:
    """Convert every band to sRGB, lay it on white where it is transparent, and say so.

    Raises:
        UnreadableImageError: If there is nothing but transparency.
    """
    pixels = np.empty((height, width, 3), np.uint8)
    transparent, seen = False, False
    for band in bands:
        rows = slice(band.top, band.top + len(band.colours))
        rgb = convert(band.colours)
        if band.alpha is not None and band.alpha.min() < 255:
            rgb, transparent = on_white(rgb, band.alpha, premultiplied=premultiplied), True
        seen = seen or band.alpha is None or bool(band.alpha.any())
        pixels[rows] = rgb
    if not seen:
        raise UnreadableImageError(f"every pixel of the image is transparent. {EXPORT_AGAIN}")
    return pixels, (ON_WHITE,) if transparent else ()


def turn_upright(pixels: RgbImage, orientation: int) -> tuple[RgbImage, tuple[str, ...]]:
    """Undo one of the eight orientations of EXIF and TIFF (tag 274); 1, or no such number, is upright."""
    if orientation not in range(2, 9):
        return pixels, ()
    turned = pixels.transpose(1, 0, 2) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned), (TURNED,)
