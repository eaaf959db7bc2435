"""Time the input pipeline against torchvision's on PNG files, and measure the memory of a full cache."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from core.card import InputPolicy
from core.data.datasets import LabelledImage, list_breakhis
from core.fitting.augmentation import PublishedList, published_list
from core.fitting.config import FitConfig, Phase, Sampling
from core.fitting.images import TrainingImages
from core.fitting.pixel_cache import PixelStore, Wanted
from core.imaging.demo import generate_tissue
from core.results import RgbImage
from training.benchmark.input_memory import CACHE_SIDE, FILES, STORE_NAME
from training.benchmark.timing import Ratio, ratio, time_in_pairs

_BREAKHIS_IMAGES = 7909  # Spanhol et al., IEEE TBME 2016
_PATIENTS = 8
_IMAGES_PER_PATIENT = 2
_CONFIG = FitConfig(
    name="input pipeline",
    branches=("efficientnet_b0",),
    head="linear",
    input_policy=InputPolicy("resize"),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    phases=(Phase("all", epochs=1, unfrozen="all", learning_rate=1e-4),),
    augmentations="efficientnet",
    sampling=Sampling("patients", batches=4),
    batch_size=32,
    cache_side=CACHE_SIDE,
)


def input_pipeline(rounds: int) -> list[Ratio]:
    """Measure how fast batches of 224 px are made from BreaKHis-like PNG files, and the memory of a full cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = _write_tissue(folder / "breakhis")
        speed = _measure_speed(images, folder / "cache", rounds)
    with tempfile.TemporaryDirectory() as name:
        return [speed, _measure_memory(Path(name))]


def _write_tissue(folder: Path) -> list[LabelledImage]:
    """Write generated tissue as PNG files with the size and names of BreaKHis images."""
    folder.mkdir()
    for patient in range(_PATIENTS):
        malignant = patient % 2 == 1
        for number in range(_IMAGES_PER_PATIENT):
            pixels = generate_tissue(patient * _IMAGES_PER_PATIENT + number, "malignant" if malignant else "benign")
            code = "M_DC" if malignant else "B_F"
            path = folder / f"SOB_{code}-14-{patient + 1}-100-{number + 1:03d}.png"
            path.write_bytes(imagecodecs.png_encode(pixels))
    return list_breakhis(folder)


def _measure_speed(images: Sequence[LabelledImage], cache: Path, rounds: int) -> Ratio:
    source = TrainingImages(images, _CONFIG, cache)
    transform = _torchvision_transforms(published_list("efficientnet"), _CONFIG.input_policy.input_side)
    torch.manual_seed(0)

    def ours() -> list[Tensor]:
        draws = source.epoch(0, 0, 0)
        batches = [source.patches(draw, np.arange(len(draw)), 0, 0) for draw in draws]
        # Like the peer's ToTensor: images x 3 x rows x columns, from 0 to 1.
        return [torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255 for batch in batches]

    def peer() -> list[Tensor]:
        draws = source.epoch(0, 0, 0)
        return [torch.stack([transform(_open(images[i].path)) for i in draw.images]) for draw in draws]

    # Compare the middle only: torchvision's rotations leave black corners.
    colours = [torch.cat(make())[..., 60:-60, 60:-60].mean(dim=(0, 2, 3)) for make in (ours, peer)]
    gap = 255 * float((colours[0] - colours[1]).abs().max())
    patches = _CONFIG.sampling.batches * _CONFIG.batch_size
    return ratio(
        "training patches against torchvision v1 on the PNG files",
        ">= 5",
        time_in_pairs(peer, ours, rounds),
        f"{patches} patches per round, one process each; mean colours {gap:.1f} grey levels apart",
    )


def _torchvision_transforms(settings: PublishedList, side: int) -> transforms.Compose:
    """Return the peer: the same kinds and strengths of augmentation with torchvision's v1 transforms."""
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(side, scale=(settings.least_area, 1)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomChoice([transforms.RandomRotation((turn, turn)) for turn in (0, 90, 180, 270)]),
            transforms.RandomRotation(settings.degrees),
            transforms.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue),
            transforms.RandomApply([transforms.GaussianBlur(3)], p=settings.blur),
            transforms.ToTensor(),
        ]
    )


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _measure_memory(folder: Path) -> Ratio:
    """Fill a cache with as many entries as BreaKHis has images, and draw all of them in a new process."""
    small = [generate_tissue(seed, "malignant", CACHE_SIDE, CACHE_SIDE) for seed in range(4)]

    def pixels(wanted: Wanted, data: bytes) -> RgbImage:
        return np.roll(small[int(data) % len(small)], int(data), axis=0)

    # Tiny files stand for the 7,909 images, because decoding is not measured here.
    (folder / FILES).mkdir()
    for number in range(_BREAKHIS_IMAGES):
        (folder / FILES / f"{number:04d}").write_text(str(number), encoding="ascii")
    images = [Wanted(path) for path in sorted((folder / FILES).iterdir())]
    PixelStore(folder, STORE_NAME).fetch(images, pixels, lambda ready, total: None)
    command = [sys.executable, "-m", "training.benchmark.input_memory", str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    private, mapped, whole, seconds = (float(value) for value in output.split())
    return ratio(
        "resident memory of a full BreaKHis cache after every image was drawn, GB",
        "< 2",
        [private + mapped],
        f"{mapped:.2f} mapped from the file, which the system can reclaim at any time, {private:.3f} private; "
        f"the whole process with its libraries {whole:.2f}; reopened in {seconds:.2f} s",
    )
