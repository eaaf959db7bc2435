"""Small images made on the spot under BreaKHis names: pale ones benign, crowded ones malignant."""

from pathlib import Path

import cv2
import numpy as np

from core.datasets import LabelledImage, breakhis


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
    return breakhis(folder)
