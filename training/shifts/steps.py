"""Measure the drop of AUC between two sets and the effects of views, stain, quality control and scale on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from core.card import Card
from core.data.datasets import LabelledImage
from core.data.images import read_image
from core.imaging.working_scale import resample, working_factor
from core.network.classifier import Classifier
from core.statistics.cautions import Caution
from core.statistics.comparison import compare_auc
from core.statistics.evaluation import AblationRow, Figure
from core.statistics.figure_names import AUC
from core.statistics.predictions import BinaryPredictions, auc_estimate
from core.statistics.resampling import Ranking, Weights, bca_intervals
from core.statistics.shift import Shift, Step
from core.statistics.tissue_statistics import SIZE, STATISTICS
from core.wording import bounds_words, interval_words
from training.evaluation.ablation import CHANGE, ablate
from training.evaluation.chosen_images import ChosenImage
from training.shifts.sets import AnalysedSet, probability_of, unusable_image_cautions

_SIZE = [statistic.name for statistic in STATISTICS].index(SIZE)
_MOST_RESIZED = 5.0  # times; covers all pairs of magnifications of BreaKHis except 40X and 400X
_VIEWS = {"none": "one view only (no TTA)", "7": "seven views (TTA)", "8": "eight views (TTA)"}
_STAINS = {"none": "no stain normalisation", "Reinhard": "Reinhard", "Macenko": "Macenko"}

Advance = Callable[[], object]


def auc_figure(seen: AnalysedSet) -> Figure | None:
    """Measure the AUC of a set with the card's preparation; None if there are too few images for one."""
    return _auc(seen.judged) if seen.judgeable else None


def measure_drop(source: AnalysedSet, target: AnalysedSet) -> Figure | None:
    """Measure the drop of AUC from source to target, resampling persons with their images in both sets.

    None if a set has too few images for an AUC.
    """
    if not (source.judgeable and target.judgeable):
        return None
    persons = np.union1d(source.judged.patient_ids, target.judged.patient_ids)
    strata = np.zeros(len(persons), np.int64)
    rankings = []
    # Of four strata in each set; the factor keeps every combination of the two apart.
    for factor, judged in ((4, source.judged), (1, target.judged)):
        present = np.isin(persons, judged.patient_ids)
        strata[present] += factor * judged.strata()
        rankings.append((Ranking(judged.malignant, judged.probabilities, judged.patient_ids), present))

    def measure(weights: Weights) -> NDArray[np.float64]:
        first, second = (ranking.auc(weights[:, present]) for ranking, present in rankings)
        return (first - second)[:, None]

    (drop,) = bca_intervals(measure, strata)
    return Figure("drop of AUC", drop.value, drop.low, drop.high, "image", len(target.images))


def preparation_steps(target: AnalysedSet, classifier: Classifier, advance: Advance) -> tuple[Step, ...]:
    """Evaluate the target set with one preparation step changed at a time; the card's own preparation comes first."""
    rows: Sequence[AblationRow] = ablate(
        [ChosenImage(image) for image in target.images], lambda _: classifier, classifier.card, advance
    )
    own = next(row for row in rows if row.change is None)
    # A stable sort: the choice of images comes after the preparation of images.
    rows = sorted(rows, key=lambda row: row.quality_control)
    named = [(name, row) for row in rows if (name := _name(row, own)) is not None]
    steps = [Step(name, row.images, row.auc, row.change) for name, row in named]
    return (Step(_own_name(own), own.images, own.auc, None), *steps)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Another scale for the target set: how many times larger each image is made. The pipeline is told no scale."""

    name: str
    factors: NDArray[np.float64]


def scale_step(
    source: AnalysedSet, target: AnalysedSet, classifier: Classifier, begin: Callable[[], Advance]
) -> tuple[Step | None, tuple[Caution, ...]]:
    """Evaluate the target set at another scale: what is known of scales is used, or left out if it was used already.

    A network with a working scale has been given the known scales of the target set, so they are left out. For any
    other network, the images are resized to the scale of the source set if both are known, otherwise so that dark
    structures are as large as there.

    Return cautions as well; if the scale cannot be matched, the step is None, and `begin` is not called.
    """
    trial = _plan_trial(source, target, classifier.card)
    if isinstance(trial, str):
        return None, (Caution("scale not matched", f"the scale was not matched: {trial}"),)
    advance = begin()
    usable, reasons, probabilities = [], [], []
    for number, (image, factor) in enumerate(zip(target.images, trial.factors, strict=True)):
        result = _judge_again(image, classifier, factor)
        if isinstance(result, str):
            reasons.append((image.path.name, result.rstrip(".")))
        else:
            usable.append(number)
            probabilities.append(result)
        advance()
    warnings = unusable_image_cautions(reasons, len(target.images), f"{target.measured.name}, {trial.name},")
    own = target.judged.only(np.isin(np.arange(len(target.images)), usable))
    if not 2 <= own.malignant.sum() <= len(own.malignant) - 2:
        few = Caution("no AUC", f"{trial.name}: too few benign or malignant images are left for an AUC")
        return None, (*warnings, few)
    scaled = BinaryPredictions(own.malignant, np.array(probabilities, np.float64), own.patient_ids)
    paired = compare_auc(scaled, own)
    change = Figure(CHANGE, paired.difference, paired.low, paired.high, "image", paired.n)
    return Step(trial.name, len(usable), _auc(scaled), change), warnings


def _judge_again(image: LabelledImage, classifier: Classifier, factor: float) -> float | str:
    decoded = read_image(image)
    if isinstance(decoded, str):
        return decoded
    return probability_of(resample(decoded.pixels, factor), image, classifier, None)


def _plan_trial(source: AnalysedSet, target: AnalysedSet, card: Card) -> _Trial | str:
    """Return the other scale to try, or why there is none."""
    if card.input_policy.kind == "resize":
        return "this network resizes every image to the same square"
    known = bool(np.isfinite(target.scales).all())
    if card.scale is not None and known:
        return _Trial("scale not used (images as they are)", np.ones(len(target.images)))
    if card.scale is None and known and np.isfinite(source.scales).all():
        factors = target.scales / np.median(source.scales)
        return _limited(_Trial(f"scale matched as stated (images x {np.median(factors):.2f})", factors))
    sizes = [_size_of_structures(seen, card) for seen in (source, target)]
    if not all(np.isfinite(size).any() for size in sizes):
        return "no dark structures were found whose sizes could be compared"
    factor = float(2 ** (np.nanmedian(sizes[0]) - np.nanmedian(sizes[1])))
    return _limited(_Trial(f"scale matched (images x {factor:.2f})", np.full(len(target.images), factor)))


def _limited(trial: _Trial) -> _Trial | str:
    factor = float(np.median(trial.factors))
    times, direction = max(factor, 1 / factor), "larger" if factor > 1 else "smaller"
    if times > _MOST_RESIZED:
        return f"images would have to be {times:.1f} times {direction}"
    return trial


def _size_of_structures(seen: AnalysedSet, card: Card) -> NDArray[np.float64]:
    """Return the size of dark structures, as the binary logarithm of pixels that the network sees."""
    working = None if card.scale is None else card.scale.working
    factors = [working_factor(image.um_per_px, working) for image in seen.images]
    return np.asarray(seen.measured.statistics[:, _SIZE] + np.log2(factors))


def _own_name(row: AblationRow) -> str:
    return f"as the card says: {_VIEWS[row.views]}, {_STAINS[row.stain]}"


def _name(row: AblationRow, own: AblationRow) -> str | None:
    """Return the name of the one step in which a row differs from the card's own; None if it is not exactly one."""
    changed = (row.views != own.views, row.stain != own.stain, row.quality_control)
    if sum(changed) != 1:
        return None
    if row.quality_control:
        return "quality control on"
    if row.stain != own.stain:
        return _STAINS[row.stain]
    # One view against all of them shows the effect of views; seven views add nothing to that.
    return _VIEWS[row.views] if row.views == ("8" if own.views == "none" else "none") else None


def _auc(judged: BinaryPredictions) -> Figure:
    estimate = auc_estimate(judged)
    return Figure(AUC, estimate.value, estimate.low, estimate.high, "image", len(judged.malignant))


def build_tables(shift: Shift) -> tuple[Table, ...]:
    """Return tables of the distances, the image statistics and, if measured, the effects of preparation steps."""
    effects = (effect_table(shift),) if shift.steps else ()
    scopes = (scope_table(shift),) if any(shift.scope) else ()
    return distance_table(shift), statistic_table(shift), *scopes, *effects


def distance_table(shift: Shift) -> Table:
    """Return a table of the distances beside those expected by chance."""
    title = f"{shift.source} to {shift.target}, measured with {shift.model_name} {shift.model_version}"
    caption = (
        f"{shift.images[0]} images of {shift.patients[0]} patients against {shift.images[1]} of {shift.patients[1]}; "
        "halves: distance between two random halves of the source's patients"
    )
    table = Table("distance", "value", "95% interval", "halves", "p", title=title, caption=caption)
    for distance in shift.distances:
        p = "" if distance.p is None else f"{distance.p:.3f}"
        table.add_row(distance.name, f"{distance.value:.3f}", bounds_words(distance), f"{distance.halves:.3f}", p)
    return table


def statistic_table(shift: Shift) -> Table:
    """Return a table of the image statistics, the most different first."""
    table = Table("statistic", "source", "target", "difference in SD", "p", title="Medians of the original images")
    for each in sorted(shift.distributions, key=lambda each: -abs(each.difference)):
        medians = (f"{each.source_median:.3g}", f"{each.target_median:.3g}")
        table.add_row(f"{each.name} ({each.unit})", *medians, f"{each.difference:+.2f}", f"{each.p:.3f}")
    return table


def scope_table(shift: Shift) -> Table:
    """Return a table of the shares of images in the network's scope, unusual and out of scope."""
    caption = "Readers would see no opinion on images out of scope, but the figures here include them"
    table = Table("set", "images", "in scope", "unusual", "out of scope", title="Scope of the network", caption=caption)
    for name, counts in zip((shift.source, shift.target), shift.scope, strict=True):
        if counts is not None:
            parts = (counts.within, counts.unusual, counts.out)
            table.add_row(name, str(counts.images), *(f"{part / counts.images:.1%}" for part in parts))
    return table


def effect_table(shift: Shift) -> Table:
    """Return a table of the AUC on both sets and the change by each preparation step on the target set."""
    columns = ("set and preparation", "images", "AUC [95%]", "change [95%]", "share of drop")
    table = Table(*columns, title="Effects of preparation steps", caption=_caption(shift))
    if shift.source_auc is not None:
        table.add_row(_set_name(shift, "source", 0), str(shift.source_auc.n), interval_words(shift.source_auc), "", "")
    for step in shift.steps:
        name = _set_name(shift, f"target, {step.name}", 1) if step.change is None else step.name
        share = shift.given_back(step)
        change = "" if step.change is None else interval_words(step.change, "+.3f")
        gained = "" if share is None else f"{share:+.0%}"
        table.add_row(name, str(step.images), interval_words(step.auc), change, gained)
    return table


def _set_name(shift: Shift, name: str, place: int) -> str:
    return f"{name} (has training patients)" if shift.trained_on[place] else name


def _caption(shift: Shift) -> str:
    drop = shift.drop
    if drop is None:
        return "The drop of AUC from source to target cannot be measured"
    is_clear = drop.low is not None and drop.low > 0
    note = "" if is_clear else "; the interval includes 0, so shares of the drop are not given"
    return f"Drop of AUC from source to target {interval_words(drop, '+.3f')}{note}"
