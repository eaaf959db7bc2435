"""The size limits of images, and the error that says why an image cannot be read."""

MAX_BYTES = 200_000_000  # of the file
MAX_PIXELS = 100_000_000
MIN_SIDE = 32  # px; not even the sharpness of a smaller image can be judged

# Work that a file may cause, in bytes of pixels that it unpacks to. Any file may unpack to as much as a usual camera
# field; a larger one must hold a byte for every 200 of them. Real fields hold one for every 2 to 60, empty ones less.
FREE_WORK = 10_000_000
MOST_WORK = 200

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


def check_work(unpacked: int, packed: int) -> None:
    """Refuse a file that unpacks to far more than any picture of tissue: a few bytes must not cost seconds.

    Raises:
        UnreadableImageError: If `unpacked` bytes of pixels are too many for a file of `packed` bytes.
    """
    if unpacked > FREE_WORK and unpacked > MOST_WORK * packed:
        raise UnreadableImageError(
            f"the file of {packed:,} bytes would unpack to {unpacked / 1e6:,.0f} MB, more than {MOST_WORK} times its "
            "size: it is truncated, empty or malicious. Export a smaller field of view."
        )


def truncation_error(present: int, needed: int) -> UnreadableImageError:
    """Return the error for a file that ends too early."""
    return UnreadableImageError(
        f"the file is cut short: it ends after {present:,} of {needed:,} bytes. Export it again."
    )
