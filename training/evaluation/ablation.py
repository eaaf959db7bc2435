"""Measure the effects of views, stain normalisation and quality control on the AUC over the same images.

Every image is analysed in nine ways: one, seven or eight views, times no stain normalisation, Reinhard or Macenko.
It is decoded once, and for each stain its eight views pass through the network once; one and seven views are subsets
of these. With quality control off, all readable images count, as in serving, where a warning is shown beside the
result. With it on, images with any quality warning (blurred, sparse, not H&E-like, mirrored to fill a patch) are left
out. The change of a row is its AUC minus the AUC of the reference (the card's views and stain, quality control off).
Its interval comes from resampling patients, the same ones for both AUCs: rows without quality control have the same
images as the reference, rows with it the same images without the flagged ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from core.card import Card, StainTarget
from core.data.images import read_image
from core.imaging.scale import known_um_per_px
from core.network.classifier import Classifier
from core.network.views import EIGHT_VIEWS, ViewSet, apply_view, get_views
from core.pipeline import check_image, cut_normalised_patches, pool_patches
from core.results import NoResultError, Patches, RgbImage
from core.statistics.evaluation import AblationRow, Figure
from core.statistics.figure_names import AUC
from core.statistics.predictions import BinaryPredictions
from core.statistics.resampling import Interval, Ranking, Weights, bca_intervals
from training.evaluation.chosen_images import ChosenImage

CHANGE: Final = "change of AUC"

_VIEWS: tuple[tuple[ViewSet, str], ...] = (("one", "none"), ("seven", "7"), ("eight", "8"))
_STAINS = ("none", "Reinhard", "Macenko")
_WAYS = tuple(product(range(len(_STAINS)), range(len(_VIEWS))))


@dataclass(frozen=True, slots=True)
class _Trial:
    """One image analysed in every way; `probabilities` of malignant are stains x views."""

    malignant: bool
    patient_id: str
    flagged: bool
    probabilities: NDArray[np.float64]


def ablate(
    chosen: Sequence[ChosenImage],
    classifiers: Callable[[int | None], Classifier],
    card: Card,
    advance: Callable[[], object] = lambda: None,
) -> tuple[AblationRow, ...]:
    """Analyse every image in every way and compare each with the card's own; images without a result are left out.

    Raises:
        ValueError: If no image has a result.
    """
    one_view = lru_cache(maxsize=1)(lambda fold: _with_stains(classifiers(fold)))
    trials = []
    for one in chosen:
        if (trial := _try_image(one, one_view(one.fold))) is not None:
            trials.append(trial)
        advance()
    if not trials:
        raise ValueError("an ablation needs images with a result, but there are none")
    return _rows(trials, card)


def stain_targets(card: Card) -> tuple[StainTarget | None, ...]:
    """Return the targets of no stain normalisation, Reinhard and Macenko; the card's own where it has one."""
    own = card.stain
    methods: tuple[StainTarget, StainTarget] = (StainTarget("reinhard"), StainTarget("macenko"))
    return (None, *(own if own is not None and own.method == target.method else target for target in methods))


def _with_stains(classifier: Classifier) -> list[Classifier]:
    card = replace(classifier.card, views="one")
    return [classifier.with_card(replace(card, stain=target)) for target in stain_targets(card)]


def _try_image(chosen: ChosenImage, classifiers: Sequence[Classifier]) -> _Trial | None:
    image = chosen.image
    decoded = read_image(image)
    if isinstance(decoded, str):
        return None
    pixels, scale = decoded.pixels, known_um_per_px(image.um_per_px, decoded.scale)
    quality = check_image(pixels, classifiers[0].card, scale)
    if not quality.readable:
        return None
    try:
        rows = [_by_views(pixels, classifier.at(image.magnification), scale) for classifier in classifiers]
    except NoResultError:
        return None
    return _Trial(image.malignancy == "malignant", image.patient_id, bool(quality.problems), np.array(rows))


def _by_views(image: RgbImage, classifier: Classifier, um_per_px: float | None) -> list[float]:
    """Return the malignant probability with one, seven and eight views, from one pass over the eight."""
    patches = cut_normalised_patches(image, classifier, um_per_px).patches
    by_view = classifier.classify(_eight_views(patches)).reshape(len(EIGHT_VIEWS), len(patches), -1)
    means = (by_view[[EIGHT_VIEWS.index(view) for view in get_views(name)]].mean(axis=0) for name, _ in _VIEWS)
    return [pool_patches(mean, classifier.card).malignant_probability for mean in means]


def _eight_views(patches: Patches) -> Patches:
    """Return every patch in each of the eight views: views * patches x side x side x 3, view by view."""
    images = torch.from_numpy(patches).permute(0, 3, 1, 2)
    transformed = torch.cat([apply_view(view, images) for view in EIGHT_VIEWS])
    views: Patches = transformed.permute(0, 2, 3, 1).contiguous().numpy()
    return views


def _rows(trials: Sequence[_Trial], card: Card) -> tuple[AblationRow, ...]:
    clean = np.array([not trial.flagged for trial in trials])
    methods = [None if target is None else target.method for target in stain_targets(card)]
    own_way = (methods.index(card.stain.method if card.stain else None), [name for name, _ in _VIEWS].index(card.views))
    own = _judged(trials, *own_way)
    rows = []
    for (stain, views), control in product(_WAYS, (False, True)):
        judged = _judged(trials, stain, views)
        judged = judged.only(clean) if control else judged
        if not 0 < judged.malignant.sum() < len(judged.malignant):
            continue  # without benign or malignant images left there is no AUC
        change = None if (stain, views) == own_way and not control else _figure(CHANGE, judged, own)
        auc = _figure(AUC, judged)
        rows.append(AblationRow(_VIEWS[views][1], _STAINS[stain], control, len(judged.malignant), auc, change))
    return tuple(rows)


def _judged(trials: Sequence[_Trial], stain: int, views: int) -> BinaryPredictions:
    return BinaryPredictions.of(
        [trial.malignant for trial in trials],
        [float(trial.probabilities[stain, views]) for trial in trials],
        [trial.patient_id for trial in trials],
    )


def _figure(name: str, judged: BinaryPredictions, against: BinaryPredictions | None = None) -> Figure:
    """Measure an AUC or, with `against`, its difference from the AUC of that superset of the same images."""
    everyone = against or judged
    present = np.isin(np.unique(everyone.patient_ids), judged.patient_ids)
    ranking = Ranking(judged.malignant, judged.probabilities, judged.patient_ids)
    other = against and Ranking(against.malignant, against.probabilities, against.patient_ids)

    def measure(weights: Weights) -> NDArray[np.float64]:
        auc = ranking.auc(weights[:, present])
        return (auc - other.auc(weights) if other else auc)[:, None]

    interval: Interval = bca_intervals(measure, everyone.strata())[0]
    return Figure(name, interval.value, interval.low, interval.high, "image", len(judged.malignant))
