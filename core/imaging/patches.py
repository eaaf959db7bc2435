"""Cut square patches from an image, and stitch their maps back onto it."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from core.card import InputPolicy
from core.imaging.limits import MAX_PIXELS
from core.results import Box, Heatmap, QualityFinding, RgbImage

# Of all patches of one image together: their pixels and their evidence take seven bytes each. Half overlapping patches
# of the largest image have four times its pixels.
_MOST_PATCH_PIXELS = 5 * MAX_PIXELS

# How many times an image may be mirrored along one side to fill a patch. If its scale is unknown, a small image is more
# likely a thumbnail than a small field. If it is known, its cells have the size that the network has learned, and it
# sees the same ones several times: the whole field of an objective of 40x fills a quarter of a patch of one of 10x.
_USUAL_MIRRORED = 2
_MOST_MIRRORED = 4

# Which part of a patch's side its map continues beyond it: half a cell of a map of 7 x 7, which most networks have.
_CONTINUED = 14


def fit_boxes(height: int, width: int, policy: InputPolicy) -> list[Box]:
    """Lay the boxes of an input policy over an image, row by row.

    Under `patches` the last row and column are flush with the edge, so that every pixel is covered;
    an image smaller than one patch has no boxes.
    """
    if min(height, width) < 1:
        raise ValueError(f"an image of {width} x {height} has no pixels")
    if policy.kind == "resize":
        return [(0, 0, width, height)]
    side = policy.patch_side
    tops = _starts(height, side, policy.stride)
    lefts = _starts(width, side, policy.stride)
    return [(left, top, left + side, top + side) for top in tops for left in lefts]


def count_boxes(height: int, width: int, policy: InputPolicy) -> int:
    """Return how many boxes an input policy lays over an image, without laying them."""
    if policy.kind == "resize":
        return 1
    rows, columns = (
        -(-(length - policy.patch_side) // policy.stride) + 1 if length >= policy.patch_side else 0
        for length in (height, width)
    )
    return rows * columns


def find_size_problem(
    height: int, width: int, policy: InputPolicy, working: float | None = None
) -> QualityFinding | None:
    """Return a finding if an image is too small or too large for the patches of a policy, or None.

    `working` is its scale in µm per pixel if that is known to be the working scale of the network.
    """
    side, boxes = policy.patch_side, count_boxes(height, width, policy)
    image = f"a {width} x {height} image" + (f" at {working:.3g} µm per pixel" if working else "")
    if boxes * policy.input_side**2 > _MOST_PATCH_PIXELS:
        return QualityFinding(
            "unreadable",
            f"{image} makes {boxes:,} patches of {policy.input_side} px for this model, which need too much memory",
        )
    if policy.kind == "resize" or min(height, width) >= side:
        return None
    problem = f"{image} is smaller than one {side} px patch of this model"
    if (_MOST_MIRRORED if working else _USUAL_MIRRORED) * min(height, width) < side:
        return QualityFinding("unreadable", problem)
    if _USUAL_MIRRORED * min(height, width) < side:
        return QualityFinding("warning", f"{problem}; it was mirrored several times to fill one, and shows few cells")
    return QualityFinding("warning", f"{problem}; it was mirrored at its edges to fill one")


def pad_to_patch(image: RgbImage, policy: InputPolicy) -> RgbImage:
    """Mirror an image at its right and lower edges until a patch fits; return a larger image unchanged."""
    if policy.kind == "resize":
        return image
    below, right = (max(0, policy.patch_side - length) for length in image.shape[:2])
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="symmetric") if below or right else image


def cut_patches(image: RgbImage, boxes: list[Box], side: int) -> NDArray[np.uint8]:
    """Cut the boxes out of an image and scale each to a square: boxes x side x side x 3.

    A box that already has this size is copied unchanged.
    """
    patches = np.empty((len(boxes), side, side, 3), dtype=np.uint8)
    for patch, (left, top, right, bottom) in zip(patches, boxes, strict=True):
        part = image[top:bottom, left:right]
        # Area averaging preserves small nuclei when shrinking, but looks blocky when enlarging.
        method = cv2.INTER_AREA if part.shape[0] * part.shape[1] > side * side else cv2.INTER_CUBIC
        patch[:] = part if part.shape[:2] == (side, side) else cv2.resize(part, (side, side), interpolation=method)
    return patches


def stitch(maps: NDArray[np.float32], boxes: Sequence[Box], height: int, width: int) -> Heatmap:
    """Average patch maps (boxes x side x side, logit units) back onto the image; the boxes have one size.

    A map counts less the nearer its patch ends, so that where patches overlap one fades into the next. Where they only
    meet, each map continues a little beyond its patch with the values of its edge: between the cells of two patches the
    map then changes as it does between those of one patch, and no seam is seen.
    Maps keep their own scale: stretching each patch to 0..1 first would paint an empty patch as hot as a tumour.
    Pixels that no map reaches are 0: no evidence.
    """
    if len(maps) != len(boxes):
        raise ValueError(f"{len(maps)} maps for {len(boxes)} boxes")
    if not boxes:
        return np.zeros((height, width), dtype=np.float32)
    left, top, right, bottom = boxes[0]
    size = (right - left, bottom - top)
    if len(boxes) == 1 and size == (width, height):
        return _enlarge(maps[0], size)
    across, down = (length // _CONTINUED for length in size)
    weights = np.outer(_fading_weights(size[1] + 2 * down), _fading_weights(size[0] + 2 * across))
    # With a margin, so that no map has to be cut where it continues beyond the image.
    mean = np.zeros((height + 2 * down, width + 2 * across), dtype=np.float32)
    weight = np.zeros_like(mean)
    for patch_map, (left, top, _, _) in zip(maps, boxes, strict=True):
        continued = cv2.copyMakeBorder(_enlarge(patch_map, size), down, down, across, across, cv2.BORDER_REPLICATE)
        place = slice(top, top + len(weights)), slice(left, left + weights.shape[1])
        weight[place] += weights
        # A running mean: the quotient of two sums would turn equal values into noise, which a colour scale then shows.
        mean[place] += (continued - mean[place]) * (weights / weight[place])
    return mean[down : down + height, across : across + width]


def _enlarge(patch_map: NDArray[np.float32], size: tuple[int, int]) -> Heatmap:
    return cv2.resize(patch_map, size, interpolation=cv2.INTER_LINEAR).astype(np.float32, copy=False)


def _fading_weights(length: int) -> NDArray[np.float32]:
    """Return the distance of each pixel of a line from its nearer end, in pixels; 0.5 for the first and the last."""
    from_start = np.arange(0.5, length, dtype=np.float32)
    nearer: NDArray[np.float32] = np.minimum(from_start, from_start[::-1])
    return nearer


def _starts(length: int, side: int, stride: int) -> list[int]:
    """Return where intervals of one side start along a length, the last flush with its end."""
    last = length - side
    return [*range(0, last, stride), last] if last >= 0 else []
