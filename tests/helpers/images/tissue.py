"""Tissue made on the spot: small images under BreaKHis names, pale ones benign and crowded ones malignant."""

from pathlib import Path

import cv2
import numpy as np

from core.data.datasets import LabelledImage, list_breakhis
from core.imaging.heatmaps import encode_png


def tissue_folder(folder: Path, patients: int = 4, each: int = 2, side: int = 48) -> list[LabelledImage]:
    """Write `each` images of as many benign as malignant patients."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for patient in range(patients):
        code, nuclei = (("B_F", 4), ("M_DC", 40))[patient % 2]
        for number in range(each):
            image = np.full((side, side + 8, 3), (225, 190, 210), np.uint8)
            for x, y in rng.integers(0, side, (nuclei, 2)):
                cv2.circle(image, (int(x), int(y)), 2, (90, 50, 130), -1)
            noisy = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
            name = f"SOB_{code}-14-{patient + 1}-100-{number + 1:03d}.png"
            cv2.imwrite(str(folder / name), noisy[..., ::-1])
    return list_breakhis(folder)


def tissue_png(seed: int, height: int = 260, width: int = 320) -> bytes:
    """Return the bytes of a pink and purple image that no quality limit minds."""
    noise = np.random.default_rng(seed)
    pixels = np.array([200, 120, 170], np.float32) + noise.normal(0, 25, (height, width, 1)).astype(np.float32)
    return encode_png(np.clip(pixels, 0, 255).astype(np.uint8))
