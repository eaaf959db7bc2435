"""Measure how much of a drop in AUC between two sets is due to views, stain, quality control and scale."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from core.card import Card
from core.network.classifier import Classifier
from core.results import RgbImage
from core.statistics.cautions import Caution
from core.statistics.comparison import compare
from core.statistics.evaluation import AblationRow, Figure
from core.statistics.figure_names import AUC
from core.statistics.predictions import Judged, auc_estimate
from core.statistics.resampling import Ranking, Weights, bca
from core.statistics.shift import Distance, Shift, Step
from core.statistics.tissue_statistics import SIZE, STATISTICS
from training.evaluation.ablation import CHANGE, ablate
from training.evaluation.chosen_images import Chosen
from training.shifts.sets import SeenSet, left_out_cautions, probability_of, read_pixels

_SIZE = [statistic.name for statistic in STATISTICS].index(SIZE)
_MOST_RESIZED = 5.0  # times; the whole range of BreaKHis but for 40X against 400X
_VIEWS = {"none": "one view only (no TTA)", "7": "seven views (TTA)", "8": "eight views (TTA)"}
_STAINS = {"none": "no stain normalisation", "Reinhard": "Reinhard", "Macenko": "Macenko"}

Advance = Callable[[], object]


def auc_figure(seen: SeenSet) -> Figure | None:
    """Measure the AUC of a set by the card's own way; None where an image or two decide it, or nothing does."""
    return _auc(seen.judged) if seen.judgeable else None


def drop_between(source: SeenSet, target: SeenSet) -> Figure | None:
    """Measure by how much the AUC is lower on the target set; persons are resampled, with their images of both."""
    if not (source.judgeable and target.judgeable):
        return None
    persons = np.union1d(source.judged.patient_ids, target.judged.patient_ids)
    strata = np.zeros(len(persons), np.int64)
    rankings = []
    for place, judged in ((4, source.judged), (1, target.judged)):
        there = np.isin(persons, judged.patient_ids)
        strata[there] += place * judged.strata()
        rankings.append((Ranking(judged.malignant, judged.probabilities, judged.patient_ids), there))

    def measure(weights: Weights) -> NDArray[np.float64]:
        first, second = (ranking.auc(weights[:, there]) for ranking, there in rankings)
        return (first - second)[:, None]

    (found,) = bca(measure, strata)
    return Figure("drop of AUC", found.value, found.low, found.high, "image", len(target.images))


def preparation_steps(target: SeenSet, classifier: Classifier, advance: Advance) -> tuple[Step, ...]:
    """Judge the target set with one thing changed at a time; the card's own way comes first."""
    rows: Sequence[AblationRow] = ablate(
        [Chosen(image) for image in target.images], lambda _: classifier, classifier.card, advance
    )
    own = next(row for row in rows if row.change is None)
    # Stable: what is kept of the images is told after what is done to them.
    rows = sorted(rows, key=lambda row: row.quality_control)
    named = [(name, row) for row in rows if (name := _name(row, own)) is not None]
    steps = [Step(name, row.images, row.auc, row.change) for name, row in named]
    return (Step(_own_name(own), own.images, own.auc, None), *steps)


def scale_step(
    source: SeenSet, target: SeenSet, classifier: Classifier, advance: Advance
) -> tuple[Step | None, tuple[Caution, ...]]:
    """Judge the target set with its images resized until dark structures measure what they do in the source set.

    Gives no step, and the reason, where that cannot be done.
    """
    factor, problem = _factor(source, target, classifier.card)
    if problem:
        return None, (Caution("scale not matched", problem),)
    name = f"scale matched (images x {factor:.2f})"
    kept, reasons, probabilities = [], [], []
    for number, image in enumerate(target.images):
        pixels = read_pixels(image)
        found = pixels if isinstance(pixels, str) else probability_of(_resized(pixels, factor), image, classifier)
        if isinstance(found, str):
            reasons.append((image.path.name, found.rstrip(".")))
        else:
            kept.append(number)
            probabilities.append(found)
        advance()
    warnings = left_out_cautions(reasons, len(target.images), f"{target.measured.name}, {name},")
    own = target.judged.only(np.isin(np.arange(len(target.images)), kept))
    if not 2 <= own.malignant.sum() <= len(own.malignant) - 2:
        few = Caution("no AUC", f"{name}: too few benign or malignant images are left for an AUC")
        return None, (*warnings, few)
    scaled = Judged(own.malignant, np.array(probabilities, np.float64), own.patient_ids)
    paired = compare(scaled, own)
    change = Figure(CHANGE, paired.difference, paired.low, paired.high, "image", paired.n)
    return Step(name, len(kept), _auc(scaled), change), warnings


def _factor(source: SeenSet, target: SeenSet, card: Card) -> tuple[float, str]:
    """Give the factor between the sets, or why there is none."""
    if card.input_policy.kind == "resize":
        return 1.0, "scale was not matched: this network sees the whole image in one square, whatever its size"
    sizes = [seen.measured.statistics[:, _SIZE] for seen in (source, target)]
    if not all(np.isfinite(size).any() for size in sizes):
        return 1.0, "scale was not matched: no dark structures were found whose size could be compared"
    factor = float(2 ** (np.nanmedian(sizes[0]) - np.nanmedian(sizes[1])))
    times, way = max(factor, 1 / factor), "larger" if factor > 1 else "smaller"
    if times > _MOST_RESIZED:
        return factor, f"scale was not matched: images would have to be made {times:.1f} times {way}"
    return factor, ""


def _resized(image: RgbImage, factor: float) -> RgbImage:
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    size = [max(1, round(length * factor)) for length in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _own_name(row: AblationRow) -> str:
    return f"as the card says: {_VIEWS[row.views]}, {_STAINS[row.stain]}"


def _name(row: AblationRow, own: AblationRow) -> str | None:
    """Name the one thing in which a row differs from the card's own way; None if there are more, or none."""
    changed = (row.views != own.views, row.stain != own.stain, row.quality_control)
    if sum(changed) != 1:
        return None
    if row.quality_control:
        return "quality control on"
    if row.stain != own.stain:
        return _STAINS[row.stain]
    # All views against one tell what views do; seven of them tell nothing else.
    return _VIEWS[row.views] if row.views == ("8" if own.views == "none" else "none") else None


def _auc(judged: Judged) -> Figure:
    found = auc_estimate(judged)
    return Figure(AUC, found.value, found.low, found.high, "image", len(judged.malignant))


def tables(shift: Shift) -> tuple[Table, ...]:
    """Give the distances, the statistics and what helps, each in a table."""
    helps = (what_helps(shift),) if shift.steps else ()
    return distance_table(shift), statistic_table(shift), *helps


def distance_table(shift: Shift) -> Table:
    """Lay the distances out beside what chance gives."""
    title = f"{shift.source} to {shift.target}, as {shift.model_name} {shift.model_version} sees them"
    caption = (
        f"{shift.images[0]} images of {shift.patients[0]} patients against {shift.images[1]} of {shift.patients[1]}; "
        "halves: what two random halves of the source's patients give"
    )
    table = Table("distance", "value", "95 % interval", "halves", "p", title=escape(title), caption=escape(caption))
    for found in shift.distances:
        p = "" if found.p is None else f"{found.p:.3f}"
        table.add_row(found.name, f"{found.value:.3f}", _interval(found), f"{found.halves:.3f}", p)
    return table


def statistic_table(shift: Shift) -> Table:
    """Lay the statistics out, the most different first."""
    table = Table("statistic", "source", "target", "difference in SD", "p", title="medians, by image as it is")
    for found in sorted(shift.distributions, key=lambda each: -abs(each.difference)):
        medians = (f"{found.source_median:.3g}", f"{found.target_median:.3g}")
        table.add_row(f"{found.name} ({found.unit})", *medians, f"{found.difference:+.2f}", f"{found.p:.3f}")
    return table


def what_helps(shift: Shift) -> Table:
    """Lay out the AUC on both sets, and what each step changes on the target set."""
    columns = ("set and way", "images", "AUC [95 %]", "change [95 %]", "of the drop")
    table = Table(*columns, title="what helps", caption=_caption(shift))
    if shift.source_auc is not None:
        table.add_row(_named(shift, "source", 0), str(shift.source_auc.n), _figure(shift.source_auc), "", "")
    for step in shift.steps:
        name = _named(shift, f"target, {step.name}", 1) if step.change is None else escape(step.name)
        share = shift.given_back(step)
        change = "" if step.change is None else _figure(step.change, "+.3f")
        table.add_row(name, str(step.images), _figure(step.auc), change, "" if share is None else f"{share:+.0%}")
    return table


def _named(shift: Shift, what: str, place: int) -> str:
    return escape(f"{what}, trained on these patients" if shift.trained_on[place] else what)


def _figure(figure: Figure, style: str = ".3f") -> str:
    bounds = "" if figure.low is None or figure.high is None else f" [{figure.low:{style}}, {figure.high:{style}}]"
    return escape(f"{figure.value:{style}}{bounds}")


def _caption(shift: Shift) -> str:
    drop = shift.drop
    if drop is None:
        return "the drop from source to target cannot be measured"
    certain = drop.low is not None and drop.low > 0
    why = "" if certain else ": there may be none, so that no shares of it are given"
    return f"drop of AUC from source to target {_figure(drop, '+.3f')}{why}"


def _interval(found: Distance) -> str:
    return "" if found.low is None or found.high is None else f"{found.low:.3f} to {found.high:.3f}"
