"""Pictures that a breast-histology model has no opinion on: tissue altered, and what is no histology at all."""

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from scipy.spatial import cKDTree

from core.results import RgbImage

HEIGHT, WIDTH = 460, 700  # px, of the images of BreaKHis
# Optical density in R, G and B (Ruifrok and Johnston, 2001).
_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
_EOSIN = np.array([0.07, 0.99, 0.11])
_BROWN = np.array([0.27, 0.57, 0.78])  # diaminobenzidine, of immunostains
_LEAST_STAIN = 0.15  # optical density, R, G and B together; less is background
_PACKAGES = ("scikit-image", "scikit-learn", "matplotlib", "streamlit", "networkx", "sympy")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".gif")
_LEAST_SIDE = 32  # px; smaller pictures are icons

Alteration = Callable[[RgbImage], RgbImage]


def _restain(image: RgbImage, first: NDArray[np.float64], second: NDArray[np.float64]) -> RgbImage:
    """Exchange haematoxylin and eosin for two other stains; what is left over stays."""
    rest = np.cross(_HAEMATOXYLIN, _EOSIN)
    before, after = (
        np.stack([stain / np.linalg.norm(stain) for stain in stains])
        for stains in ((_HAEMATOXYLIN, _EOSIN, rest), (first, second, rest))
    )
    return _develop(_densities(image) @ np.linalg.inv(before) @ after)


def _densities(image: RgbImage) -> NDArray[np.float64]:
    """Return the optical density of each pixel in R, G and B, to the natural logarithm."""
    return np.asarray(-np.log((image.astype(np.float64) + 1) / 256))


def _develop(densities: NDArray[np.float64]) -> RgbImage:
    developed: RgbImage = np.clip(np.rint(256 * np.exp(-np.clip(densities, 0, None)) - 1), 0, 255).astype(np.uint8)
    return developed


def _turn_hue(image: RgbImage, degrees: int) -> RgbImage:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + degrees // 2) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _shrink(image: RgbImage, times: int) -> RgbImage:
    """Show the same tissue that many times smaller, mirrored until the image is full."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // times, height // times), interpolation=cv2.INTER_AREA)
    return np.pad(small, ((0, height - height // times), (0, width - width // times), (0, 0)), mode="symmetric")


def _enlarge(image: RgbImage, times: int) -> RgbImage:
    height, width = image.shape[:2]
    top, left = (height - height // times) // 2, (width - width // times) // 2
    middle = image[top : top + height // times, left : left + width // times]
    return np.asarray(cv2.resize(middle, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _to_grey(image: RgbImage) -> RgbImage:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.uint8)


def _blur(image: RgbImage, width: float) -> RgbImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), width), np.uint8)


ALTERATIONS: Mapping[str, Alteration] = {
    "immunostain colours": lambda image: _restain(image, _HAEMATOXYLIN, _BROWN),
    "stains exchanged": lambda image: _restain(image, _EOSIN, _HAEMATOXYLIN),
    "hue turned by 60 degrees": lambda image: _turn_hue(image, 60),
    "hue turned by -90 degrees": lambda image: _turn_hue(image, -90),
    "inverted": lambda image: 255 - image,
    "grey": _to_grey,
    "blurred by 4 px": lambda image: _blur(image, 4),
    "blurred by 8 px": lambda image: _blur(image, 8),
    "4 times smaller": lambda image: _shrink(image, 4),
    "4 times larger": lambda image: _enlarge(image, 4),
}


def photographs() -> Iterator[tuple[str, RgbImage]]:
    """Yield the pictures that installed packages bring, with their names."""
    for package in _PACKAGES:
        try:
            found = files(package) or []
        except PackageNotFoundError:
            continue
        for file in sorted(found):
            if file.suffix.lower() in _SUFFIXES and (picture := _read(Path(str(file.locate())))) is not None:
                yield file.name, picture


def _read(path: Path) -> RgbImage | None:
    try:
        picture = np.asarray(Image.open(path).convert("RGB"))
    except (OSError, UnidentifiedImageError):
        return None
    return picture if min(picture.shape[:2]) >= _LEAST_SIDE else None


def cut_field(picture: RgbImage, random: Generator) -> RgbImage:
    """Cut a field of the size of a BreaKHis image from a picture, at random, enlarged as far as needed."""
    height, width = picture.shape[:2]
    scale = max(HEIGHT / height, WIDTH / width) * random.uniform(1, 2.2)
    size = (max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale)))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = random.integers(0, scaled.shape[0] - HEIGHT + 1), random.integers(0, scaled.shape[1] - WIDTH + 1)
    return np.ascontiguousarray(scaled[top : top + HEIGHT, left : left + WIDTH], np.uint8)


def give_colours(picture: RgbImage, tissue: RgbImage) -> RgbImage:
    """Give a picture the colours of tissue: means and deviations in LAB (Reinhard et al., 2001)."""
    own, target = (cv2.cvtColor(one, cv2.COLOR_RGB2LAB).astype(np.float32) for one in (picture, tissue))
    scaled = (own - own.mean((0, 1))) / np.maximum(own.std((0, 1)), 1) * target.std((0, 1)) + target.mean((0, 1))
    return np.asarray(cv2.cvtColor(np.clip(scaled, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8)


def simulate_laboratory(image: RgbImage, random: Generator) -> RgbImage:
    """Show tissue as another laboratory might: other stains, another lamp, a softer lens, compressed as JPEG."""
    stains = [np.clip(stain + random.normal(0, 0.07, 3), 0.02, None) for stain in (_HAEMATOXYLIN, _EOSIN)]
    stained = _restain(image, stains[0], stains[1])
    densities = _densities(stained) * random.uniform(0.7, 1.3)
    shown = _blur(_develop(densities + random.normal(0, 0.04, 3)), random.uniform(0.3, 1.5))
    quality = int(random.integers(50, 90))
    _, data = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def measure_stain(image: RgbImage) -> NDArray[np.float64]:
    """Return the mean optical density of the tissue in R, G and B."""
    densities = _densities(image).reshape(-1, 3)
    stained = densities[densities.sum(axis=1) > _LEAST_STAIN]
    return np.asarray((stained if len(stained) else densities).mean(axis=0))


def change_stain(image: RgbImage, factors: NDArray[np.float64]) -> RgbImage:
    """Multiply the optical densities in R, G and B: above 1 the stain is darker, below 1 paler."""
    return _develop(_densities(image) * factors)


def generate_picture(kind: str, random: Generator) -> RgbImage:
    """Generate a picture that is no histology; `kind` is one of GENERATED."""
    return GENERATED[kind](random)


def _noise(random: Generator) -> RgbImage:
    return random.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def _grey_noise(random: Generator) -> RgbImage:
    return np.repeat(np.clip(random.normal(128, 50, (HEIGHT, WIDTH, 1)), 0, 255), 3, axis=2).astype(np.uint8)


def _clouds(random: Generator, roughness: float) -> NDArray[np.float64]:
    """Return noise whose spectrum falls with the frequency, with mean 0 and deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(random.normal(size=(HEIGHT, WIDTH))) / frequency**roughness
    clouds = np.fft.irfft2(spectrum, s=(HEIGHT, WIDTH))
    return np.asarray((clouds - clouds.mean()) / clouds.std())


def _coloured_clouds(random: Generator) -> RgbImage:
    roughness = random.uniform(0.8, 2)
    channels = np.stack([_clouds(random, roughness) for _ in range(3)], axis=-1)
    return np.clip(128 + 50 * channels, 0, 255).astype(np.uint8)


def _stained_clouds(random: Generator) -> RgbImage:
    """Clouds in the colours of haematoxylin and eosin: the colours of tissue without its structure."""
    roughness = random.uniform(0.6, 2)
    purple, pink = (np.clip(0.35 + 0.25 * _clouds(random, roughness), 0, 2)[..., None] for _ in range(2))
    return _develop(purple * _HAEMATOXYLIN + pink * _EOSIN)


def _gradient(random: Generator) -> RgbImage:
    corners = random.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    return np.asarray(cv2.resize(corners, (WIDTH, HEIGHT)), np.float32).clip(0, 255).astype(np.uint8)


def _stripes(random: Generator) -> RgbImage:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    angle, colours = random.uniform(0, np.pi), random.uniform(0, 255, (2, 3))
    phase = (columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / random.uniform(6, 80)
    share = (np.sin(phase)[..., None] + 1) / 2
    return np.asarray(colours[0] * share + colours[1] * (1 - share)).astype(np.uint8)


def _board(random: Generator) -> RgbImage:
    side = int(random.integers(8, 60))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    board: RgbImage = random.integers(0, 256, (2, 3)).astype(np.uint8)[(rows // side + columns // side) % 2]
    return board


def _shapes(random: Generator) -> RgbImage:
    canvas = np.full((HEIGHT, WIDTH, 3), random.integers(0, 256, 3), np.uint8)
    for _ in range(random.integers(10, 80)):
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        one, other = (tuple(int(value) for value in random.integers(0, (WIDTH, HEIGHT))) for _ in range(2))
        if random.random() < 0.5:
            cv2.circle(canvas, one, int(random.integers(5, 90)), colour, -1)
        else:
            cv2.rectangle(canvas, one, other, colour, -1 if random.random() < 0.5 else 2)
    return canvas


def _stained_discs(random: Generator) -> RgbImage:
    """Purple discs on pink: the colours and the sizes of nuclei, and nothing else of tissue."""
    canvas = np.full((HEIGHT, WIDTH, 3), (235, 190, 215), np.uint8)
    for _ in range(random.integers(200, 900)):
        middle = tuple(int(value) for value in random.integers(0, (WIDTH, HEIGHT)))
        colour = tuple(int(value) for value in np.clip(random.normal((110, 60, 140), 20), 0, 255))
        cv2.circle(canvas, middle, int(random.integers(3, 12)), colour, -1, cv2.LINE_AA)
    return canvas


def _text(random: Generator) -> RgbImage:
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    face, size = int(random.integers(0, 4)), float(random.uniform(0.4, 0.7))
    for row in range(20, HEIGHT, int(random.integers(14, 30))):
        letters = "".join(chr(random.integers(97, 123)) if random.random() > 0.16 else " " for _ in range(90))
        cv2.putText(canvas, letters, (8, row), face, size, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def _bars(random: Generator) -> RgbImage:
    """A chart of bars with its axes."""
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    colour = tuple(int(value) for value in random.integers(0, 220, 3))
    count = int(random.integers(4, 20))
    for number, share in enumerate(random.random(count)):
        left = 60 + number * (WIDTH - 100) // count
        right = left + (WIDTH - 100) * 3 // (4 * count)
        cv2.rectangle(canvas, (left, HEIGHT - 50 - int(share * 350)), (right, HEIGHT - 50), colour, -1)
    cv2.line(canvas, (55, 30), (55, HEIGHT - 50), (0, 0, 0), 1)
    cv2.line(canvas, (55, HEIGHT - 50), (WIDTH - 30, HEIGHT - 50), (0, 0, 0), 1)
    return canvas


def _cells(random: Generator) -> RgbImage:
    """A plane divided into coloured cells."""
    count = int(random.integers(20, 400))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    middles = random.uniform(0, (WIDTH, HEIGHT), (count, 2))
    _, nearest = cKDTree(middles).query(np.stack([columns.ravel(), rows.ravel()], axis=1))
    plane: RgbImage = random.integers(0, 256, (count, 3)).astype(np.uint8)[nearest].reshape(HEIGHT, WIDTH, 3)
    return plane


def _fractal(random: Generator) -> RgbImage:
    rows, columns = np.mgrid[-1.2 : 1.2 : HEIGHT * 1j, -1.6 : 1.6 : WIDTH * 1j]
    place, constant = columns + 1j * rows, complex(random.uniform(-0.8, 0.3), random.uniform(0.1, 0.8))
    steps = np.zeros((HEIGHT, WIDTH))
    for _ in range(60):
        inside = np.abs(place) < 4
        steps += inside
        place = np.where(inside, place * place + constant, place)
    coloured = cv2.applyColorMap((steps * 4).astype(np.uint8), int(random.integers(0, 20)))
    return np.asarray(coloured, np.uint8)


GENERATED: Mapping[str, Callable[[Generator], RgbImage]] = {
    "noise": _noise,
    "grey noise": _grey_noise,
    "clouds": _coloured_clouds,
    "clouds in the colours of tissue": _stained_clouds,
    "gradient": _gradient,
    "stripes": _stripes,
    "board": _board,
    "shapes": _shapes,
    "discs in the colours of tissue": _stained_discs,
    "text": _text,
    "bar chart": _bars,
    "cells": _cells,
    "fractal": _fractal,
}
