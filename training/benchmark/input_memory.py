"""Draw every image of a full cache in this fresh process; print the memory that takes, and the time to open it."""

import sys
import time
from pathlib import Path

import numpy as np

from core.fitting.augmentation import published_patch
from core.fitting.pixel_cache import PixelStore, Wanted
from core.results import RgbImage

CACHE_SIDE = 256
STORE_NAME = "breakhis"
FILES = "files"  # folder beside the cache with its source files


def _resident_gb(kind: str) -> float:
    # Linux. RssAnon is private, RssFile is mapped from files, VmRSS is the total.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith(f"{kind}:")).split()[1]) * 1024 / 1e9


def _refuse_decoding(wanted: Wanted, data: bytes) -> RgbImage:
    raise ValueError(f"{wanted.path} should have been in the cache")


def _open(folder: Path) -> tuple[RgbImage, ...]:
    images = [Wanted(path) for path in sorted((folder / FILES).iterdir())]
    return PixelStore(folder, STORE_NAME).fetch(images, _refuse_decoding, lambda ready, total: None)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    # A first patch, so that the libraries that every run needs are already in memory.
    published_patch(np.zeros((CACHE_SIDE, CACHE_SIDE, 3), np.uint8), "efficientnet", 224, rng)
    private, mapped = _resident_gb("RssAnon"), _resident_gb("RssFile")
    start = time.perf_counter()
    images = _open(Path(sys.argv[1]))
    seconds = time.perf_counter() - start
    for place in rng.permutation(len(images)):
        published_patch(images[place], "efficientnet", 224, rng)
    print(_resident_gb("RssAnon") - private, _resident_gb("RssFile") - mapped, _resident_gb("VmRSS"), seconds)
