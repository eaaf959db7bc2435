"""Fill in the scale of labelled images from what their files state."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from core.data.datasets import LabelledImage
from core.imaging.decode import read_scale


def with_stated_scales(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Return the images, those of unknown scale with that of their file if it states one; pixels are not decoded."""
    unknown = [image.path for image in images if image.um_per_px is None]
    with ThreadPoolExecutor() as pool:
        stated = dict(zip(unknown, pool.map(_read, unknown), strict=True))
    return [replace(image, um_per_px=stated[image.path]) if image.um_per_px is None else image for image in images]


def _read(path: Path) -> float | None:
    try:
        scale = read_scale(path.read_bytes())
    except OSError:
        return None  # whoever needs the pixels says that they cannot be read
    return scale.um_per_px if scale else None
