"""Explain a comparison of two image sets in words for people who read slides rather than statistics."""

from core.statistics.cautions import FEW_PATIENTS
from core.statistics.shift import DISCREPANCY, FRECHET, TWO_SAMPLE_AUC, Distance, Distribution, Shift, Step
from core.wording import interval_words

_VERY_UNLIKELY, _UNLIKELY = 0.01, 0.05  # p-values below which chance is so
_SMALLEST_CHANGE = 0.005  # of an AUC
_SMALLEST_DIFFERENCE = 0.05  # standard deviations; less would be written as 0.0
_GUESSING = 0.5  # AUC

DISTANCE_HELP = {
    FRECHET: (
        "How far apart the two sets are in the network's feature space, by their centres and their spread. It has no "
        "unit and depends on the network: compare it with the distance between two random halves of the source set's "
        "patients. If it is not larger, it may only reflect differences between patients."
    ),
    DISCREPANCY: (
        "Whether, to the network, images of one set look more like each other than like those of the other set. 0 "
        "means no difference. p is the share of random reassignments of the patients that give at least as much."
    ),
    TWO_SAMPLE_AUC: (
        "A simple classifier learns which set an image is from and is tested on patients it has not seen. 0.5 is "
        "guessing: the sets look alike (with few patients it may be lower). 1.0: every image reveals its set."
    ),
}
STATISTIC_HELP = {
    "lightness": "How bright the tissue is; depends on section thickness, stain strength and lamp.",
    "green to red": "The tint from green to red; higher is pinker.",
    "blue to yellow": "The tint from blue to yellow; lower is bluer.",
    "spread of lightness": "The contrast between the darkest and the palest tissue.",
    "haematoxylin": "The strength of the blue nuclear stain where it is strongest.",
    "eosin": "The strength of the pink stain where it is strongest.",
    "angle between the stains": "How different the colours of the two stains are; small if both look the same purple.",
    "sharpness": "How sharp edges are; lower where the image is out of focus, compressed or enlarged.",
    "tissue fraction": "The share of the image that is tissue rather than empty glass.",
    "size of dark structures": (
        "The diameter of dark structures, mostly nuclei; larger means a higher magnification. 3 stands for 8 px, 4 for "
        "16 px, 5 for 32 px. Where nuclei are smaller than about 6 px, larger structures are measured instead."
    ),
}
STEP_HELP = (
    "Each row changes one step in preparing the target set's images. The marker shows the change in AUC on the same "
    "patients, the bar its 95% interval; if the bar crosses 0, there may be no change at all. Left is worse, right is "
    "better. The dotted line is the change that would reach the AUC of the source set."
)


def verdict(shift: Shift) -> str:
    """Write in one sentence whether the two sets differ."""
    separability, discrepancy = shift.distance(TWO_SAMPLE_AUC), shift.distance(DISCREPANCY)
    signs = [
        separability is not None and separability.low is not None and separability.low > _GUESSING,
        discrepancy is not None and discrepancy.p is not None and discrepancy.p < _UNLIKELY,
    ]
    conclusion = (
        "show no difference beyond that between patients",
        "may differ: one of two tests finds a difference, the other does not",
        "clearly differ, beyond the difference between patients",
    )[sum(signs)]
    few = (
        ""
        if all(signs) or min(shift.patients) >= FEW_PATIENTS
        else " With so few patients, a difference is easily missed."
    )
    return f"To this network, images of {shift.source} and of {shift.target} {conclusion}.{few}"


def distance_words(distance: Distance) -> str:
    """Write a distance with its interval or p."""
    style = _style_of(distance)
    bounds = (
        "" if distance.low is None or distance.high is None else f" [{distance.low:{style}}, {distance.high:{style}}]"
    )
    return f"{distance.value:{style}}{bounds}" + ("" if distance.p is None else f", {p_words(distance.p)}")


def halves_words(distance: Distance) -> str:
    """Write the same distance between two random halves of the source set."""
    style = _style_of(distance)
    return f"two random halves of the source set: {distance.halves:{style}}"


def _style_of(distance: Distance) -> str:
    return ".0f" if abs(distance.value) >= 100 else ".1f" if abs(distance.value) >= 10 else ".3f"


def difference_words(distribution: Distribution) -> str:
    """Write how much higher or lower a statistic is in the target set, and how likely that is by chance."""
    size = abs(distribution.difference)
    if size < _SMALLEST_DIFFERENCE:
        return "no difference"
    direction = "higher" if distribution.difference > 0 else "lower"
    return f"{size:.1f} SD {direction}, {chance_words(distribution.p)}"


def chance_words(p: float) -> str:
    """Write how likely a difference is by chance."""
    if p < _VERY_UNLIKELY:
        return "very unlikely to be chance"
    return "unlikely to be chance" if p < _UNLIKELY else "may be chance"


def p_words(p: float) -> str:
    """Write a p-value; 1,000 permutations cannot give one below 0.001."""
    return "p ≤ 0.001" if p <= 0.001 else f"p = {p:.3f}"


def changes_nothing(shift: Shift) -> bool:
    """Return whether every step leaves the AUC as it is, to two decimals, so that a chart would show nothing."""
    changes = [step.change for step in shift.steps if step.change is not None]
    bounds = [bound for change in changes for bound in (change.value, change.low, change.high) if bound is not None]
    return bool(changes) and max(map(abs, bounds)) < _SMALLEST_CHANGE


def auc_words(shift: Shift) -> str:
    """Write the AUC on the source and on the target set."""
    own = next((step for step in shift.steps if step.change is None), None)
    if own is None or shift.source_auc is None or shift.drop is None:
        return "not measured: both sets need benign and malignant images"
    return f"{shift.source_auc.value:.3f} → {own.auc.value:.3f}"


def drop_words(shift: Shift) -> str:
    """Write how much the AUC drops, and whether that is certain."""
    if shift.drop is None:
        return ""
    low, high = shift.drop.low, shift.drop.high
    certain = low is not None and high is not None and (low > 0 or high < 0)
    return f"drop {interval_words(shift.drop, '+.3f')}{'' if certain else ': there may be no drop'}"


def trained_on_words(shift: Shift) -> str:
    """Write which of the patients the network was trained on; their AUC is too high."""
    sets = [
        f"{count} of {patients} patients of {name}"
        for count, patients, name in zip(shift.trained_on, shift.patients, (shift.source, shift.target), strict=True)
        if count
    ]
    return f"the network was trained on {' and '.join(sets)}" if sets else ""


def short_step(step: Step) -> str:
    """Return the name of a step without the part in brackets."""
    return step.name.partition(" (")[0]


def step_words(shift: Shift, step: Step) -> str:
    """Write what a step changes, and how much of the drop that is."""
    if step.change is None:
        return "as it is"
    share = shift.given_back(step)
    of_drop = "" if share is None else f", {share:+.0%} of the drop"
    return f"{interval_words(step.change, '+.3f')}{of_drop}"
