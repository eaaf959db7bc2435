"""The size limits of images, and the error that says why an image cannot be read."""

MAX_BYTES = 200_000_000  # of the file
MAX_PIXELS = 100_000_000
MIN_SIDE = 32  # px; not even the sharpness of a smaller image can be judged

EXPORT_AGAIN = "Export it again as 8-bit RGB (PNG, JPEG or TIFF)."


class UnreadableImageError(Exception):
    """The bytes cannot be read as an image; the message says why and what to do."""


def check_size(width: int, height: int) -> None:
    """Refuse an image outside the limits by the size in its header, before anything is decoded.

    Raises:
        UnreadableImageError: If there are too many pixels or a side is too short.
    """
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"the image is {width:,} x {height:,} pixels; the limit is {MAX_PIXELS // 1_000_000} megapixels. "
            "Export a smaller field of view."
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(
            f"the image is {width} x {height} pixels; each side must be at least {MIN_SIDE} pixels. "
            "Export a larger field of view."
        )


def truncation_error(present: int, needed: int) -> UnreadableImageError:
    """Return the error for a file that ends too early."""
    return UnreadableImageError(
        f"the file is cut short: it ends after {present:,} of {needed:,} bytes. Export it again."
    )
