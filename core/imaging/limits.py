"""How large an image may be, and the one error that says why an image cannot be read."""

MAX_BYTES = 200_000_000  # of the file
MAX_PIXELS = 100_000_000
MIN_SIDE = 32  # px; on smaller images not even the sharpness can be judged

EXPORT_AGAIN = "Export it again as 8-bit RGB (PNG, JPEG or TIFF)."


class UnreadableImageError(Exception):
    """The bytes are not an image we can read; the message tells a reader why and what to do."""


def check_size(width: int, height: int) -> None:
    """Refuse an image outside the limits, from its header, before anything is decoded.

    Raises:
        UnreadableImageError: If there are too many pixels or a side is too short.
    """
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"the image is {width:,} x {height:,} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are read. "
            "Export a smaller field of view."
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(
            f"the image is {width} x {height} pixels; each side must be at least {MIN_SIDE} pixels."
        )


def cut_short(present: int, needed: int) -> UnreadableImageError:
    """Make the error for a file that stops too early."""
    return UnreadableImageError(f"the file ends after {present:,} of {needed:,} bytes. Export it again.")
