"""Draws an evaluation as PNG files: curves and confusion matrices."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from core.evaluation import Confusion, Curve, Evaluation

_INCHES, _DOTS = 4.2, 120  # of one plot: its side, and dots in an inch
_ACCENT, _INK, _FAINT = "#1b7f86", "#22282c", "#8a9499"
# x axis, y axis, and where a network without skill (of the reliability: with perfect odds) lies.
_AXES = {
    "roc": ("1 - specificity", "sensitivity", "diagonal"),
    "precision_recall": ("sensitivity (recall)", "precision", "none"),
    "reliability": ("predicted malignant probability", "share that is malignant", "diagonal"),
    "risk_coverage": ("share of images with an opinion", "share of wrong ones among them", "none"),
}
_TITLES = {
    "roc": "ROC curve",
    "precision_recall": "Precision and recall",
    "reliability": "Reliability",
    "risk_coverage": "Risk and coverage",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture in the evaluation's folder; a wide one needs the whole page."""

    name: str
    title: str
    wide: bool = False


def draw(evaluation: Evaluation, folder: Path) -> tuple[Plot, ...]:
    """Write every plot of an evaluation into a folder."""
    made = []
    for curve in evaluation.curves:
        made.append(Plot(f"{curve.kind.replace('_', '-')}.png", _TITLES[curve.kind]))
        (folder / made[-1].name).write_bytes(_png(_curve(curve)))
    for number, confusion in enumerate(evaluation.confusions):
        classes = len(confusion.classes)
        name = "confusion.png" if number == 0 else f"confusion-{classes}.png"
        made.append(Plot(name, f"Confusion matrix, {classes} classes", classes > 4))
        (folder / name).write_bytes(_png(_matrix(confusion)))
    return tuple(made)


def _png(canvas: Canvas) -> bytes:
    buffer = BytesIO()
    # Without the library's version in it, the same evaluation gives the same bytes.
    canvas.savefig(buffer, format="png", dpi=_DOTS, metadata={"Software": None})
    return buffer.getvalue()


def _canvas(side: float = _INCHES) -> tuple[Canvas, Axes]:
    # Not pyplot: it keeps every figure alive, and asks which screen there is.
    canvas = Canvas(figsize=(side, side), layout="constrained", facecolor="white")
    axes = canvas.add_subplot()
    axes.tick_params(colors=_INK, labelsize=8)
    for edge in axes.spines.values():
        edge.set_color(_FAINT)
    return canvas, axes


def _curve(curve: Curve) -> Canvas:
    canvas, axes = _canvas()
    across, up, reference = _AXES[curve.kind]
    if reference == "diagonal":
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle="--")
    if curve.weights:
        sizes = 20 + 180 * np.array(curve.weights) / max(*curve.weights, 1)
        axes.scatter(curve.x, curve.y, s=sizes, color=_ACCENT, alpha=0.5, linewidths=0)
    axes.plot(curve.x, curve.y, color=_ACCENT, linewidth=1.8)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up)
    axes.set_title(_TITLES[curve.kind], fontsize=10, color=_INK)
    return canvas


def _matrix(confusion: Confusion) -> Canvas:
    counts = np.array(confusion.counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = [name.replace("_", " ") for name in confusion.classes]
    canvas, axes = _canvas(_INCHES if len(classes) == 2 else 1.5 + 0.8 * len(classes))
    axes.imshow(shares, cmap="GnBu", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        words = f"{counts[row, column]}\n{share:.0%}\n{confusion.patients[row][column]} pat."
        axes.text(
            column,
            row,
            words,
            ha="center",
            va="center",
            fontsize=9 if len(classes) == 2 else 7,
            color="white" if share > 0.6 else _INK,
        )
    axes.set_xticks(
        range(len(classes)),
        classes,
        rotation=45 if len(classes) > 2 else 0,
        ha="right" if len(classes) > 2 else "center",
    )
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="called", ylabel="is")
    axes.set_title("Images, share of the row, and patients", fontsize=10, color=_INK)
    return canvas
