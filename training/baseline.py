"""Evaluate logistic regression on colour and texture features over the starter's folds: the baseline to beat.

python -m training.baseline BREAKHIS
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions
from core.data.datasets import LabelledImage, load_folders
from core.data.left_out import dataset_cautions
from core.data.splits import patient_folds
from core.fitting.config import FitConfig
from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from core.results import RgbImage
from core.statistics.predictions import BinaryPredictions, auc_estimate
from core.statistics.weights import weigh_patients
from core.wording import interval_words

_STARTER = Path(__file__).resolve().parent / "configs" / "starter.toml"
_GREYS = 16  # levels of the co-occurrence matrices
_SHRINK_FACTORS = (1, 2, 4)  # texture is measured at these scales
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # rows, columns, clockwise

Features = NDArray[np.float64]


def run(
    data: Annotated[list[Path], typer.Argument(help="Folders that contain BreaKHis_v1.")],
    config: Annotated[Path, typer.Option(help="TOML file of the run whose folds are used.")] = _STARTER,
) -> None:
    """Print the baseline's pooled out-of-fold figures."""
    settings = FitConfig.from_toml(config)
    images = load_folders("breakhis", data)
    cautions = dataset_cautions("breakhis", data[0], images, *data[1:])
    print_cautions(PlainConsole(stderr=True), cautions)
    judged, magnifications = judge_out_of_fold(images, settings.protocol.folds, settings.protocol.seed)
    main = judged.only(magnifications == "100X")
    for name, part in (("image at 100X", main), ("image", judged), ("accession number", judged.by_patient())):
        auc = auc_estimate(part)
        typer.echo(f"AUC by {name}: {interval_words(auc)}")
    end_if_left_out(cautions)


def judge_out_of_fold(
    images: Sequence[LabelledImage], folds: int, seed: int
) -> tuple[BinaryPredictions, NDArray[np.str_]]:
    """Fit one model per fold; return the pooled held-out probabilities and, in the same order, the magnifications."""
    features = {
        image.path: describe(decode_image(image.path.read_bytes()).pixels) for image in track(images, "features")
    }
    parts = []
    for train, validation in patient_folds(images, folds, seed):
        regression = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
        malignant = [image.malignancy == "malignant" for image in train]
        # Every patient weighs the same, as in the training of the networks.
        weights = weigh_patients(np.array([image.patient_id for image in train], np.str_))
        rows = np.stack([features[image.path] for image in train])
        regression.fit(rows, malignant, logisticregression__sample_weight=weights)
        held_out = np.stack([features[image.path] for image in validation])
        parts.append((validation, regression.predict_proba(held_out)[:, 1]))
    pooled = [image for validation, _ in parts for image in validation]
    judged = BinaryPredictions.of(
        [image.malignancy == "malignant" for image in pooled],
        [float(p) for _, probabilities in parts for p in probabilities],
        [image.patient_id for image in pooled],
    )
    return judged, np.array([image.magnification for image in pooled])


def describe(image: RgbImage) -> Features:
    """Measure the colours and the texture of an image."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scales = [
        cv2.resize(grey, None, fx=1 / s, fy=1 / s, interpolation=cv2.INTER_AREA).astype(np.int64)
        for s in _SHRINK_FACTORS
    ]
    return np.concatenate([_colours(image), *(f(scale) for scale in scales for f in (_patterns, _co_occurrences))])


def _colours(image: RgbImage) -> Features:
    spaces = [image, cv2.cvtColor(image, cv2.COLOR_RGB2LAB), cv2.cvtColor(image, cv2.COLOR_RGB2HSV)]
    moments = [np.concatenate([s.mean(axis=(0, 1)), s.std(axis=(0, 1))]) for s in spaces]
    percentiles = np.percentile(spaces[1].reshape(-1, 3), [5, 25, 50, 75, 95], axis=0)
    return np.concatenate([*moments, percentiles.ravel()])


def _patterns(grey: NDArray[np.int64]) -> Features:
    """Return the shares of the ten rotation-invariant uniform local binary patterns (Ojala et al., TPAMI 2002)."""
    rows, columns = grey.shape
    centre = grey[1:-1, 1:-1]
    brighter = np.stack([grey[1 + r : rows - 1 + r, 1 + c : columns - 1 + c] >= centre for r, c in _NEIGHBOURS])
    changes = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0)
    codes = np.where(changes <= 2, brighter.sum(axis=0), 9)
    return np.bincount(codes.ravel(), minlength=10) / codes.size


def _co_occurrences(grey: NDArray[np.int64]) -> Features:
    """Return contrast, homogeneity, energy and entropy of neighbours to the right and below (Haralick et al., 1973)."""
    levels = grey * _GREYS // 256
    pairs = ((levels[:, :-1], levels[:, 1:]), (levels[:-1], levels[1:]))
    return np.concatenate([_haralick(np.bincount((a * _GREYS + b).ravel(), minlength=_GREYS**2)) for a, b in pairs])


def _haralick(counts: NDArray[np.int64]) -> Features:
    share = (counts / counts.sum()).reshape(_GREYS, _GREYS)
    first, second = np.indices(share.shape)
    apart = np.abs(first - second)
    positive = share[share > 0]
    return np.array(
        [(share * apart**2).sum(), (share / (1 + apart)).sum(), (share**2).sum(), -(positive * np.log(positive)).sum()]
    )


app = make_app(run, "python -m training.baseline BREAKHIS", OSError, ValueError, UnreadableImageError)

if __name__ == "__main__":
    run_app(app)
