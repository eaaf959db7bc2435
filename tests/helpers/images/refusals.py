"""What is said of files that cannot be read as images."""

import pytest

from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError


def refusal(data: bytes) -> str:
    """Return why a file is refused; fail if it is read."""
    with pytest.raises(UnreadableImageError) as caught:
        decode_image(data)
    return str(caught.value)
