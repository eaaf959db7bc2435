"""Decode the images of a dataset; one that cannot be decoded has a reason."""

from core.data.datasets import LabelledImage
from core.imaging.decode import DecodedImage, decode_image
from core.imaging.limits import UnreadableImageError


def read_image(image: LabelledImage) -> DecodedImage | str:
    """Decode an image, or return the reason why it cannot be decoded."""
    try:
        return decode_image(image.path.read_bytes())
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    except UnreadableImageError as error:
        return str(error)
