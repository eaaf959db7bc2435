"""Refuse, before any image is analysed, a set of which the checkpoint can take no image."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from core.card import Card
from core.data.datasets import LabelledImage
from core.data.stated_scales import with_stated_scales
from core.imaging.working_scale import find_scale_findings


def refuse_unusable(name: str, images: Sequence[LabelledImage], card: Card) -> None:
    """Refuse a set of which no image fits the network by its size and scale; only the headers of files are read.

    Raises:
        ValueError: If no image fits; the message has the most common reason.
    """
    problems = []
    for image in images:
        problem = _find_problem(image, card)
        if problem is None:
            return
        problems.append(problem)
    raise none_usable(name, problems)


def none_usable(name: str, reasons: Sequence[str]) -> ValueError:
    """Return the error for a set without a usable image."""
    return ValueError(
        f"none of the {len(reasons)} images of {name} can be used: {Counter(reasons).most_common(1)[0][0]}. "
        "If they are too small, use larger images or a checkpoint for images of this size"
    )


def _find_problem(image: LabelledImage, card: Card) -> str | None:
    """Return why the network cannot take an image; None if it can, or if its header does not tell."""
    size = _read_size(image.path)
    if size is None:
        return None
    scale = with_stated_scales([image])[0].um_per_px if card.scale else None
    findings = find_scale_findings(*size, card, scale)
    return next((finding.message for finding in findings if finding.kind == "unreadable"), None)


def _read_size(file: Path) -> tuple[int, int] | None:
    """Return height and width from the header of an image; None if Pillow cannot tell them."""
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
