"""Generate H&E-like tissue, so that new users without images can try reading a case."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from core.labels import Malignancy
from core.results import RgbImage

Plane = NDArray[np.float32]  # height x width; the amount of one stain

# Optical density in R, G and B of one unit of each stain (Ruifrok and Johnston 2001, brightened a little).
_HAEMATOXYLIN = np.array([0.62, 0.72, 0.30])
_EOSIN = np.array([0.09, 0.82, 0.38])
_LIGHT = np.array([243.0, 240.0, 244.0])  # grey levels of glass in R, G, B


@dataclass(frozen=True, slots=True)
class _Nuclei:
    """How the nuclei of one kind of tissue look; lengths in pixels."""

    radius: float
    spread: float  # of the radius, relative
    stretch: float  # the largest ratio of long to short axis
    stain: tuple[float, float]  # lowest and highest amount of haematoxylin


_REGULAR = _Nuclei(radius=4.6, spread=0.10, stretch=1.5, stain=(0.75, 0.95))
_PLEOMORPHIC = _Nuclei(radius=7.2, spread=0.30, stretch=1.9, stain=(0.70, 1.45))
_SPINDLE = _Nuclei(radius=2.4, spread=0.20, stretch=4.0, stain=(0.6, 0.9))


def generate_tissue(seed: int, malignancy: Malignancy, height: int = 460, width: int = 700) -> RgbImage:
    """Generate a field of H&E-like tissue, the same for the same seed.

    Benign: ducts with an open lumen, lined by small, regular nuclei, in fibrous stroma. Malignant: crowded
    nests of large, uneven, dark nuclei without lumina. It is no person's tissue and no basis for a diagnosis.

    Raises:
        ValueError: If a side is under 64 px.
    """
    if min(height, width) < 64:
        raise ValueError(f"generated tissue needs at least 64 px per side, got {width} x {height}")
    random = np.random.default_rng([seed, malignancy == "malignant"])
    haematoxylin, eosin = _draw_stroma(random, height, width)
    if malignancy == "benign":
        _draw_fat(random, haematoxylin, eosin)
        _draw_ducts(random, haematoxylin, eosin)
    else:
        _draw_nests(random, haematoxylin, eosin)
    return _develop(random, haematoxylin, eosin)


def _draw_stroma(random: Generator, height: int, width: int) -> tuple[Plane, Plane]:
    """Draw wavy collagen with scattered spindle nuclei; return haematoxylin and eosin."""
    angle = random.uniform(0, np.pi)
    fibres = _draw_fibres(random, height, width, angle)
    eosin = 0.42 + 0.13 * fibres + 0.08 * _noise(random, height, width, 40) + 0.03 * _noise(random, height, width, 4)
    clefts = np.clip(-fibres - 0.9, 0, 1) * np.clip(_noise(random, height, width, 40), 0, 1)
    eosin = np.clip(eosin * (1 - 0.9 * clefts), 0.04, 1).astype(np.float32)
    haematoxylin = np.clip(0.07 + 0.03 * _noise(random, height, width, 12), 0, 1).astype(np.float32)
    for _ in range(height * width // 4200):
        centre = random.uniform((0, 0), (width, height))
        _draw_nucleus(random, haematoxylin, centre, _SPINDLE, along=angle)
    return haematoxylin, eosin


def _draw_fibres(random: Generator, height: int, width: int, angle: float) -> Plane:
    """Draw streaks, about 4 px thick and 70 px long, that wave around one direction."""
    side = int(np.hypot(height, width)) + 160
    streaks = cv2.resize(_noise(random, side // 4, side // 70 + 2, 1), (side, side), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    down, right = rows - height / 2, columns - width / 2
    along = right * np.cos(angle) + down * np.sin(angle) + side / 2
    across = down * np.cos(angle) - right * np.sin(angle) + side / 2 + 18 * _noise(random, height, width, 110)
    return np.asarray(
        cv2.remap(streaks, along.astype(np.float32), across.astype(np.float32), cv2.INTER_LINEAR), dtype=np.float32
    )


def _draw_fat(random: Generator, haematoxylin: Plane, eosin: Plane) -> None:
    """Draw a group of round, empty fat cells with thin walls."""
    height, width = eosin.shape
    middle = random.uniform((0, 0), (width, height))
    reach = random.uniform(70, 130)
    for centre in _scatter(random, height, width, apart=58, most=80):
        if np.hypot(*(centre - middle)) > reach:
            continue
        outline = _blob(random, centre, random.uniform(27, 33), 0.08)
        for plane, inside, wall in ((eosin, 0.02, 0.4), (haematoxylin, 0.01, 0.12)):
            cv2.fillPoly(plane, [outline], inside, cv2.LINE_AA)
            cv2.polylines(plane, [outline], True, wall, 2, cv2.LINE_AA)


def _draw_ducts(random: Generator, haematoxylin: Plane, eosin: Plane) -> None:
    """Draw ducts: a lumen, a lining of one or two rows of regular nuclei, a paler sleeve around them."""
    height, width = eosin.shape
    for centre in _scatter(random, height, width, apart=112, most=14):
        radius = random.uniform(30, 56)
        outline = _blob(random, centre, radius, 0.22)
        inner = _scale_outline(outline, centre, 1 - 15 / radius)
        _fill(eosin, _scale_outline(outline, centre, 1.16), 0.36, 0.55)
        _fill(eosin, outline, 0.40, 0.9)
        _fill(haematoxylin, outline, 0.22, 0.9)
        for layer, stagger in ((1 - 4.5 / radius, 0.0), (1 - 11.5 / radius, 0.5)):
            _draw_lining(random, haematoxylin, _scale_outline(outline, centre, layer), stagger)
        _fill(eosin, inner, 0.03, 0.97)
        _fill(haematoxylin, inner, 0.01, 0.97)


def _draw_lining(random: Generator, haematoxylin: Plane, outline: NDArray[np.int32], stagger: float) -> None:
    steps = np.linalg.norm(np.diff(outline, axis=0, append=outline[:1]), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    closed = np.concatenate([outline, outline[:1]])
    for distance in np.arange(stagger * 8.5, travelled[-1] - 4, 8.5):
        centre = np.array([np.interp(distance + random.normal(0, 0.7), travelled, closed[:, axis]) for axis in (0, 1)])
        ahead = np.array([np.interp(distance + 3, travelled, closed[:, axis]) for axis in (0, 1)]) - centre
        outward = float(np.arctan2(ahead[1], ahead[0])) + np.pi / 2
        _draw_nucleus(random, haematoxylin, centre + random.normal(0, 0.8, 2), _REGULAR, along=outward)


def _draw_nests(random: Generator, haematoxylin: Plane, eosin: Plane) -> None:
    """Draw solid, ragged nests crowded with large, uneven nuclei, and single cells between them."""
    height, width = eosin.shape
    ground = np.zeros((height, width), dtype=np.float32)
    for centre in _scatter(random, height, width, apart=105, most=16):
        _fill(ground, _blob(random, centre, random.uniform(38, 78), 0.32), 1.0, 1.0)
    ground = np.clip(cv2.GaussianBlur(ground, (0, 0), 3) + 0.12 * _noise(random, height, width, 10) * ground, 0, 1)
    eosin += ground * (0.34 + 0.06 * _noise(random, height, width, 9) - eosin)
    haematoxylin += ground * (0.24 + 0.05 * _noise(random, height, width, 7) - haematoxylin)
    for centre in _scatter(random, height, width, apart=11, most=height * width // 110):
        inside = ground[int(centre[1]), int(centre[0])] > 0.5
        if inside or random.random() < 0.04:
            _draw_nucleus(random, haematoxylin, centre, _PLEOMORPHIC, along=random.uniform(0, np.pi))


def _draw_nucleus(
    random: Generator, haematoxylin: Plane, centre: NDArray[np.float64], kind: _Nuclei, along: float
) -> None:
    """Draw one nucleus: an uneven ellipse with a darker rim and clumped chromatin."""
    radius = kind.radius * float(np.exp(random.normal(0, kind.spread)))
    stretch = random.uniform(1.1, kind.stretch) ** 0.5
    angle = along + random.normal(0, 0.15)
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    wobble = 1 + kind.spread * 0.4 * random.normal(size=14)
    x, y = radius * stretch * wobble * np.cos(angles), radius / stretch * wobble * np.sin(angles)
    points = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=1) + centre
    outline = np.rint(points * 16).astype(np.int32)  # sixteenths of a pixel
    stain = random.uniform(*kind.stain)
    cv2.fillPoly(haematoxylin, [outline], stain, cv2.LINE_AA, 4)
    cv2.polylines(haematoxylin, [outline], True, stain * 1.18, 1, cv2.LINE_AA, 4)
    if kind is _PLEOMORPHIC:
        spot = tuple(int(v) for v in np.rint(16 * (centre + random.normal(0, radius / 4, 2))))
        cv2.circle(haematoxylin, spot, int(16 * radius / 4), stain * 1.35, -1, cv2.LINE_AA, 4)


def _develop(random: Generator, haematoxylin: Plane, eosin: Plane) -> RgbImage:
    """Turn amounts of stain into light, by the Beer-Lambert law, through a slightly soft lens."""
    height, width = eosin.shape
    chromatin = 1 + 0.16 * _noise(random, height, width, 2.2)
    purple = np.asarray(cv2.GaussianBlur(haematoxylin * chromatin, (0, 0), 0.8), dtype=np.float64)
    pink = np.asarray(cv2.GaussianBlur(eosin, (0, 0), 0.7), dtype=np.float64)
    strength = random.uniform(0.9, 1.1, 2)
    density = purple[..., None] * _HAEMATOXYLIN * strength[0] + pink[..., None] * _EOSIN * strength[1]
    light = _LIGHT * np.exp(-np.clip(density, 0, None)) + random.normal(0, 2.2, density.shape)
    return np.asarray(np.clip(np.rint(light), 0, 255), dtype=np.uint8)


def _noise(random: Generator, height: int, width: int, grain: float) -> Plane:
    """Return smooth noise of mean 0 and deviation 1 with features of about `grain` pixels."""
    shape = (int(height / grain) + 3, int(width / grain) + 3)
    coarse = random.normal(size=shape).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((smooth - smooth.mean()) / smooth.std(), dtype=np.float32)


def _scatter(random: Generator, height: int, width: int, apart: float, most: int) -> list[NDArray[np.float64]]:
    """Scatter up to `most` points (x, y) over the field, no two closer than `apart` pixels."""
    cell = apart / np.sqrt(2)
    points: dict[tuple[int, int], NDArray[np.float64]] = {}
    for point in random.uniform((0, 0), (width, height), (most * 4, 2)):
        column, row = int(point[0] / cell), int(point[1] / cell)
        near = (points.get((column + i, row + j)) for i in range(-2, 3) for j in range(-2, 3))
        if len(points) < most and all(other is None or np.hypot(*(other - point)) >= apart for other in near):
            points[column, row] = point
    return list(points.values())


def _blob(random: Generator, centre: NDArray[np.float64], radius: float, raggedness: float) -> NDArray[np.int32]:
    """Return a closed outline (points x 2) around a centre; the higher `raggedness`, the wavier."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    waves = sum(random.normal() / k * np.cos(k * angles + random.uniform(0, 2 * np.pi)) for k in range(2, 8))
    reach = radius * np.clip(1 + raggedness * waves, 0.4, 1.8)
    return np.rint(centre + np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)).astype(np.int32)


def _scale_outline(outline: NDArray[np.int32], centre: NDArray[np.float64], factor: float) -> NDArray[np.int32]:
    return np.rint(centre + (outline - centre) * factor).astype(np.int32)


def _fill(plane: Plane, outline: NDArray[np.int32], amount: float, opacity: float) -> None:
    """Blend an amount of stain into an outline."""
    mask = np.zeros(plane.shape, dtype=np.float32)
    cv2.fillPoly(mask, [outline], opacity, cv2.LINE_AA)
    plane += mask * (amount - plane)
