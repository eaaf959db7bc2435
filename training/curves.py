"""Draws the history of a run: losses and AUC by epoch, every part a line, its phases marked."""

from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.fit.history import Epoch

_TRAIN, _VALIDATION = "tab:blue", "tab:orange"


def draw_curves(parts: Sequence[Sequence[Epoch]]) -> bytes:
    """Draw the epochs of every part as a PNG; parts without epochs are left out."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    losses, aucs = figure.subplots(1, 2)
    for epochs in parts:
        _line(losses, epochs, [epoch.loss for epoch in epochs], _TRAIN)
        _line(losses, epochs, [epoch.validation_loss for epoch in epochs], _VALIDATION)
        _line(aucs, epochs, [epoch.validation_auc for epoch in epochs], _VALIDATION)
    for axes, title in ((losses, "loss: training (blue), validation (orange)"), (aucs, "AUC on validation")):
        axes.set_title(title, pad=16)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        _mark_phases(axes, max(parts, key=len, default=()))
    aucs.set_ylim(0, 1.02)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return png.getvalue()


def _line(axes: Axes, epochs: Sequence[Epoch], values: Sequence[float | None], colour: str) -> None:
    known = [(epoch.number, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
    axes.plot([x for x, _ in known], [y for _, y in known], color=colour, alpha=0.7, marker=".", linewidth=1)


def _mark_phases(axes: Axes, epochs: Sequence[Epoch]) -> None:
    for before, after in pairwise(epochs):
        if before.phase != after.phase:
            axes.axvline(after.number - 0.5, color="grey", linestyle=":")
    for name in dict.fromkeys(epoch.phase for epoch in epochs):
        first = next(epoch.number for epoch in epochs if epoch.phase == name)
        axes.annotate(name, (first, 1), xycoords=("data", "axes fraction"), va="bottom", fontsize=7, color="grey")
