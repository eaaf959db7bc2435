"""Heat maps as files of logits, as grey levels for the viewer, and as overlays on the image."""

import struct
from io import BytesIO
from typing import TypeVar

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from core.results import Heatmap, RgbImage

GreyImage = NDArray[np.uint8]  # height x width

_Pixels = TypeVar("_Pixels", np.uint8, np.float32)

_VIEWER_SIDE = 1024  # px; finer than any map of a patch network, and quick to send
_PNG_LEVEL = 2  # of 9; on tissue a tenth larger than level 9, in a fraction of its time

# Everything that tifffile and its codecs have been seen to raise on damaged files.
_DAMAGED = (
    tifffile.TiffFileError,
    struct.error,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    RuntimeError,
    MemoryError,
)


def encode_heatmap(heatmap: Heatmap) -> bytes:
    """Encode a heat map as a deflated 32-bit float TIFF.

    QuPath and ImageJ open it and show the evidence in logit units under the pointer.
    """
    return _encode_floats(heatmap, "evidence in logit units; research use only")


def encode_scope_map(scores: Heatmap) -> bytes:
    """Encode a map of where an image is unlike the training images in the same way; `decode_heatmap` reads both."""
    return _encode_floats(scores, "how unlike the training images, in units of the scope score; research use only")


def _encode_floats(values: Heatmap, description: str) -> bytes:
    # There is no predictor, because ImageJ supports none for floats.
    buffer = BytesIO()
    tifffile.imwrite(
        buffer,
        values.astype(np.float32, copy=False),
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": 1},
        rowsperstrip=64,
        description=description,
        metadata=None,
        software="Second Read",
    )
    return buffer.getvalue()


def decode_heatmap(data: bytes) -> Heatmap:
    """Decode a heat map, exactly as it was encoded.

    Raises:
        ValueError: If the bytes are not a map that this module wrote.
    """
    try:
        heatmap = tifffile.imread(BytesIO(data))
    except _DAMAGED as error:
        raise ValueError(f"these {len(data)} bytes are not a heat map: {error}") from error
    if heatmap.ndim != 2 or heatmap.dtype != np.float32:
        raise ValueError(f"a heat map must be height x width of 32-bit floats, got {heatmap.shape} of {heatmap.dtype}")
    return np.asarray(heatmap, dtype=np.float32)


def encode_png(image: RgbImage | GreyImage) -> bytes:
    """Encode RGB or grey pixels as a PNG without metadata."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    succeeded, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    if not succeeded:
        raise ValueError(f"pixels of shape {image.shape} cannot be encoded as PNG")
    return data.tobytes()


def scale_to_grey(heatmap: Heatmap) -> tuple[GreyImage, float, float]:
    """Scale a heat map over its own range to grey levels for the viewer.

    Returns:
        The grey image, its longest side at most 1024 px, and the evidence in logit units that
        0 and 255 stand for. A constant map is all 0: cold, not hot.
    """
    low, high = _range(heatmap)
    return _stretch(_shrink(heatmap, _VIEWER_SIDE), low, high), low, high


def overlay_heatmap(
    image: RgbImage, heatmap: Heatmap, opacity: float = 0.5, *, span: tuple[float, float] | None = None
) -> RgbImage:
    """Paint a heat map over its image in cividis, scaled over the map's own range, or over `span`.

    Cividis is perceptually uniform, and distinct from H&E colours even to colour-blind readers.
    """
    if heatmap.shape != image.shape[:2]:
        raise ValueError(f"a heat map of {heatmap.shape} does not fit an image of {image.shape[:2]}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie in 0..1, got {opacity}")
    grey = _stretch(heatmap, *(span or _range(heatmap)))
    colours = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.addWeighted(image, 1 - opacity, colours, opacity, 0), dtype=np.uint8)


def paint_preview(preview: bytes, grey: bytes, opacity: float = 0.45) -> bytes:
    """Paint the grey levels of a heat map over a preview of its image; return a PNG.

    Raises:
        ValueError: If either is not an image.
    """
    image = _decode_preview(preview, cv2.IMREAD_COLOR)
    height, width = image.shape[:2]
    # The map was shrunk separately, so it may be a pixel larger or smaller than the preview.
    levels = cv2.resize(_decode_preview(grey, cv2.IMREAD_GRAYSCALE), (width, height))
    pixels = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return encode_png(overlay_heatmap(pixels, levels.astype(np.float32), opacity))


def make_thumbnail(image: RgbImage, side: int = 256) -> RgbImage:
    """Shrink an image so that its longest side is at most `side` px; never enlarge it."""
    return _shrink(image, side)


def make_colour_bar(width: int, height: int) -> RgbImage:
    """Return a bar of the colours of an overlay, from the least evidence on the left to the most on the right."""
    ramp = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    return overlay_heatmap(np.zeros((height, width, 3), np.uint8), ramp, opacity=1)


def shrink_onto(heatmap: Heatmap, image: RgbImage) -> Heatmap:
    """Shrink a heat map to the size of an image that has been shrunk."""
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _decode_preview(data: bytes, flags: int) -> NDArray[np.uint8]:
    # The previews are our own, a few hundred pixels wide: the limits for uploads are not needed.
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if pixels is None:
        raise ValueError(f"these {len(data)} bytes are not a preview image")
    return np.asarray(pixels, np.uint8)


def _range(heatmap: Heatmap) -> tuple[float, float]:
    return float(heatmap.min()), float(heatmap.max())


def _shrink(image: NDArray[_Pixels], side: int) -> NDArray[_Pixels]:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=image.dtype)


def _stretch(heatmap: Heatmap, low: float, high: float) -> GreyImage:
    if not high > low:
        return np.zeros(heatmap.shape, dtype=np.uint8)
    return np.asarray(np.rint(np.clip((heatmap - low) * (255 / (high - low)), 0, 255)), dtype=np.uint8)
