"""Tiny copies of the real datasets' trees, with made pixels and with the ids that are awkward."""

from pathlib import Path

import cv2
import numpy as np

from core.results import RgbImage

_FOLDERS = {
    "A": "benign/SOB/adenosis",
    "F": "benign/SOB/fibroadenoma",
    "PT": "benign/SOB/phyllodes_tumor",
    "TA": "benign/SOB/tubular_adenoma",
    "DC": "malignant/SOB/ductal_carcinoma",
    "LC": "malignant/SOB/lobular_carcinoma",
    "MC": "malignant/SOB/mucinous_carcinoma",
    "PC": "malignant/SOB/papillary_carcinoma",
}
# Code and slide: letters, one number under two subtypes, one slide under two, two-digit years, and short numbers.
SLIDES = (
    ("A", "14-22549AB"),
    ("A", "14-22549CD"),
    ("A", "14-29960CD"),
    ("F", "14-29960AB"),
    ("F", "14-21998CD"),
    ("F", "14-9133"),
    ("PT", "14-21998AB"),
    ("PT", "14-22704"),
    ("TA", "14-16184"),
    ("TA", "14-16184CD"),
    ("TA", "14-3411F"),
    ("DC", "14-13412"),
    ("DC", "14-2523"),
    ("DC", "14-10926"),
    ("LC", "14-13412"),
    ("LC", "14-12204"),
    ("MC", "14-13418DE"),
    ("MC", "14-10147"),
    ("PC", "14-12465"),
    ("PC", "15-190EF"),
)
PATIENTS = 15
_WIDTH, _HEIGHT = 175, 115  # a quarter of 700 x 460


def breakhis_tree(root: Path, *, flat: bool = False, each: int = 1) -> Path:
    """Write images of all slides at 40X and 100X; those of 13412 are the same pictures as DC and as LC."""
    for code, slide in SLIDES:
        for power in (40, 100):
            for number in range(1, each + 1):
                family = "B" if code in ("A", "F", "PT", "TA") else "M"
                folder = f"histology_slides/breast/{_FOLDERS[code]}/SOB_{family}_{code}_{slide}/{power}X"
                name = f"SOB_{family}_{code}-{slide}-{power}-{number:03d}.png"
                height = _HEIGHT - 1 if slide == "14-12465" else _HEIGHT  # 700 x 456 in the release
                seed = (int("".join(filter(str.isdigit, slide))) + (code == "F")) * 1000 + power + number
                write_picture(root / ("." if flat else folder) / name, made_picture(seed, height))
    return root


def bach_tree(root: Path, each: int = 2, *, table: bool = True) -> Path:
    """Write Photos/<class>/<letters>NNN.tif and the table of labels."""
    rows = []
    for folder, letters in (("Normal", "n"), ("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv")):
        for number in range(1, each + 1):
            name = f"{letters}{number:03d}.tif"
            write_picture(root / "Photos" / folder / name, made_picture(hash_of(name), 96))
            rows.append(f"{name},{folder}")
    if table:
        (root / "Photos" / "microscopy_ground_truth.csv").write_text("\n".join(rows) + "\n")
    return root


def idc_tree(root: Path, patients: tuple[int, ...] = (8863, 10253, 16570), each: int = 2) -> Path:
    """Write <patient>/<0|1>/<patient>_idx5_x.._y.._class<0|1>.png, 50 x 50."""
    for patient in patients:
        for label in (0, 1):
            for number in range(each):
                name = f"{patient}_idx5_x{51 + 50 * number}_y351_class{label}.png"
                write_picture(root / str(patient) / str(label) / name, made_picture(hash_of(name), 50, 50))
    return root


def made_picture(seed: int, height: int, width: int = _WIDTH) -> RgbImage:
    """Draw coarse blots, so that two seeds look different from afar, and fine noise."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.uint8)
    cv2.resize(rng.integers(60, 256, (7, 9, 3)).astype(np.uint8), (width, height), dst=picture)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def write_picture(path: Path, picture: RgbImage) -> Path:
    """Write a picture, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[..., ::-1])
    return path


def hash_of(name: str) -> int:
    """Give a seed that is the same in every process."""
    return int.from_bytes(name.encode()[-6:])


def fold_lists(folder: Path, folds: dict[int, dict[str, str]]) -> Path:
    """Write dsfoldN.txt as in the release, from sides by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, sides in folds.items():
        lines = [f"{name}|{name.split('-')[3]}|{number}|{side}" for name, side in sides.items()]
        (folder / f"dsfold{number}.txt").write_text("\n".join(lines) + "\n")
    return folder
