"""What a comparison of two image sets says, in words for somebody who reads slides and not statistics."""

from core.statistics.evaluation import Figure
from core.statistics.shift import DISCREPANCY, FRECHET, TOLD_APART, Distance, Distribution, Shift, Step

_HARDLY, _PROBABLY = 0.01, 0.05
_FEW_PATIENTS = 10
_NONE = 0.05  # standard deviations: shown as 0.0
_CHANCE = 0.5  # the AUC of guessing

DISTANCE_HELP = {
    FRECHET: (
        "How far the two clouds of images lie apart as the network sees them, by where their middles are and how wide "
        "they spread. It has no unit and depends on the network: compare it with what two random halves of the source "
        "set's patients give. Not above that, it may be no more than how much patients differ."
    ),
    DISCREPANCY: (
        "Whether images of one set look more like each other than like those of the other set, to the network. 0 means "
        "no difference. p says how often patients dealt to the two sets by chance would give as much."
    ),
    TOLD_APART: (
        "A simple classifier learns which set an image is from and is asked about patients it has not seen. 0.5 is "
        "guessing: the sets look alike (few patients may give less). 1.0: every image gives away where it comes from."
    ),
}
STATISTIC_HELP = {
    "lightness": "How bright the tissue is: thickness of the section, strength of the stain and the lamp.",
    "green to red": "The tint from green to red; higher is pinker.",
    "blue to yellow": "The tint from blue to yellow; lower is bluer.",
    "spread of lightness": "The contrast between the darkest and the palest tissue.",
    "haematoxylin": "How strong the blue stain of the nuclei is at its strongest.",
    "eosin": "How strong the pink stain is at its strongest.",
    "angle between the stains": "How different the two stains' colours are; small where all is one purple.",
    "sharpness": "How crisp edges are; lower where the focus is off, or where the image was compressed or enlarged.",
    "tissue fraction": "The part of the image that is tissue and not empty glass.",
    "size of dark structures": (
        "The diameter of what stands out dark, mostly nuclei: a larger one means a higher magnification. 3 stands for "
        "8 px, 4 for 16, 5 for 32. Where nuclei have fewer than about 6 px, larger structures are measured instead."
    ),
}
STEP_HELP = (
    "Each line changes one thing in how the target set's images are prepared. Its marker says by how much the AUC "
    "changes on the same patients, its bar the 95 % interval: a bar that crosses 0 may be no change at all. Left is "
    "worse, right is better. The dotted line is where the AUC would be that of the source set."
)


def verdict(shift: Shift) -> str:
    """Say in one sentence whether the target set lies elsewhere."""
    told, discrepant = shift.distance(TOLD_APART), shift.distance(DISCREPANCY)
    signs = [
        told is not None and told.low is not None and told.low > _CHANCE,
        discrepant is not None and discrepant.p is not None and discrepant.p < _PROBABLY,
    ]
    where = (
        "are not seen to differ more than patients do among themselves",
        "may differ: one of two tests says so, the other does not",
        "clearly differ, beyond how much patients do among themselves",
    )[sum(signs)]
    few = "" if all(signs) or min(shift.patients) >= _FEW_PATIENTS else " With so few patients, not much can be seen."
    return f"To this network, images of {shift.source} and of {shift.target} {where}.{few}"


def distance_words(found: Distance) -> str:
    """Write a distance with its interval or p."""
    style = ".0f" if abs(found.value) >= 100 else ".1f" if abs(found.value) >= 10 else ".3f"
    bounds = "" if found.low is None or found.high is None else f" [{found.low:{style}}, {found.high:{style}}]"
    return f"{found.value:{style}}{bounds}" + ("" if found.p is None else f", {p_words(found.p)}")


def halves_words(found: Distance) -> str:
    """Write what halves of the source set give."""
    style = ".0f" if abs(found.value) >= 100 else ".1f" if abs(found.value) >= 10 else ".3f"
    return f"two random halves of the source set: {found.halves:{style}}"


def difference(found: Distribution) -> str:
    """Write by how much a statistic is higher or lower in the target set, and whether chance could do that."""
    size = abs(found.difference)
    if size < _NONE:
        return "no difference"
    way = "higher" if found.difference > 0 else "lower"
    return f"{size:.1f} SD {way}, {chance(found.p)}"


def chance(p: float) -> str:
    """Write what a p-value means."""
    if p < _HARDLY:
        return "hardly chance"
    return "probably not chance" if p < _PROBABLY else "may be chance"


def p_words(p: float) -> str:
    """Write a p-value; 1,000 permutations cannot give one below 0.001."""
    return "p ≤ 0.001" if p <= 0.001 else f"p = {p:.3f}"


def auc_words(shift: Shift) -> str:
    """Say what becomes of the AUC from the source to the target set."""
    own = next((step for step in shift.steps if step.change is None), None)
    if own is None or shift.source_auc is None or shift.drop is None:
        return "not measured: either set needs benign and malignant images"
    return f"{shift.source_auc.value:.3f} → {own.auc.value:.3f}"


def drop_words(shift: Shift) -> str:
    """Say by how much the AUC drops, and whether that is certain."""
    if shift.drop is None:
        return ""
    low, high = shift.drop.low, shift.drop.high
    certain = low is not None and high is not None and (low > 0 or high < 0)
    return f"drop {figure_words(shift.drop, '+.3f')}{'' if certain else ': there may be none'}"


def seen_words(shift: Shift) -> str:
    """Say which patients the network was trained on, whose AUC flatters."""
    sets = [
        f"{count} of {patients} of {name}"
        for count, patients, name in zip(shift.trained_on, shift.patients, (shift.source, shift.target), strict=True)
        if count
    ]
    return f"trained on these patients: {', '.join(sets)}" if sets else ""


def short_step(step: Step) -> str:
    """Name a step without what stands in brackets."""
    return step.name.partition(" (")[0]


def step_words(shift: Shift, step: Step) -> str:
    """Write what a step changes, and how much of the drop that is."""
    if step.change is None:
        return "as it is"
    share = shift.given_back(step)
    of_drop = "" if share is None else f", {share:+.0%} of the drop"
    return f"{figure_words(step.change, '+.3f')}{of_drop}"


def figure_words(figure: Figure, style: str = ".3f") -> str:
    """Write a figure with its interval."""
    bounds = "" if figure.low is None or figure.high is None else f" [{figure.low:{style}}, {figure.high:{style}}]"
    return f"{figure.value:{style}}{bounds}"
