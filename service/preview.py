"""Thumbnails of images that were chosen and are not stored yet."""

from dataclasses import dataclass

_SIDE = 120  # px
_LARGEST = 8_000_000  # bytes; decoding more would hold up the page


@dataclass(frozen=True, slots=True)
class Preview:
    """A chosen image before it is stored: a thumbnail as PNG, or why there is none."""

    thumbnail: bytes | None
    problem: str = ""


def make_preview(data: bytes, side: int = _SIDE) -> Preview:
    """Make the thumbnail of an image that was chosen; one that cannot be read would be refused when it is stored."""
    if len(data) > _LARGEST:
        return Preview(None, "large image, no preview")
    # The decoders take a tenth of a second to import, and most visits of a page need none.
    from core.imaging.decode import decode_image  # noqa: PLC0415
    from core.imaging.heatmaps import encode_png, make_thumbnail  # noqa: PLC0415
    from core.imaging.limits import UnreadableImageError  # noqa: PLC0415

    try:
        return Preview(encode_png(make_thumbnail(decode_image(data).pixels, side)))
    except UnreadableImageError as error:
        return Preview(None, str(error))
