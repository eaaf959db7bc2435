"""Record a run in progress: history, log, progress bar, curves and, optionally, TensorBoard files."""

import json
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from io import BytesIO
from itertools import pairwise
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from core.console import PlainConsole, text_column
from core.files import write_whole
from core.run_history import Epoch, PartHistory, read_lines
from training.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


_TRAIN, _VALIDATION = "tab:blue", "tab:orange"


def draw_curves(parts: Sequence[Sequence[Epoch]]) -> bytes:
    """Draw the epochs of every part as a PNG; parts without epochs are left out."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    losses, aucs = figure.subplots(1, 2)
    for epochs in parts:
        _draw_line(losses, epochs, [epoch.loss for epoch in epochs], _TRAIN)
        _draw_line(losses, epochs, [epoch.validation_loss for epoch in epochs], _VALIDATION)
        _draw_line(aucs, epochs, [epoch.validation_auc for epoch in epochs], _VALIDATION)
    for axes, title in ((losses, "Loss: training (blue), validation (orange)"), (aucs, "Validation AUC")):
        axes.set_title(title, pad=16)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        _draw_phases(axes, max(parts, key=len, default=()))
    aucs.set_ylim(0, 1.02)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return png.getvalue()


def _draw_line(axes: Axes, epochs: Sequence[Epoch], values: Sequence[float | None], colour: str) -> None:
    known = [(epoch.number, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
    axes.plot([x for x, _ in known], [y for _, y in known], color=colour, alpha=0.7, marker=".", linewidth=1)


def _draw_phases(axes: Axes, epochs: Sequence[Epoch]) -> None:
    for before, after in pairwise(epochs):
        if before.phase != after.phase:
            axes.axvline(after.number - 0.5, color="grey", linestyle=":")
    for name in dict.fromkeys(epoch.phase for epoch in epochs):
        first = next(epoch.number for epoch in epochs if epoch.phase == name)
        axes.annotate(name, (first, 1), xycoords=("data", "axes fraction"), va="bottom", fontsize=7, color="grey")


class Record:
    """The record of one run; a resumed run continues the record in its folder.

    An interrupted part reports some of its epochs again when it resumes. A line is therefore identified by part and
    epoch, and the file is always replaced as a whole: after a kill it has no incomplete line and no epoch twice.
    """

    def __init__(self, folder: RunFolder, total: int, *, tensorboard: bool = False, leads: bool = True) -> None:
        self._folder = folder
        self._leads = leads
        self._parts: dict[str, dict[int, Epoch]] = {}
        if folder.history.exists():
            for known in read_lines(folder.history.read_text(encoding="utf-8")):
                self._parts[known.part] = {epoch.number: epoch for epoch in known.epochs}
        columns = (
            text_column(34),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=PlainConsole(stderr=True, quiet=not leads))
        self._task = self._bar.add_task("training", total=total)
        self._counted: dict[str, int] = {}  # epochs of unfinished parts on the bar
        self._board = _open_board(folder) if tensorboard and leads else None
        self._is_interrupted = False
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self._bar.start()
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, self._interrupt)
            self._exits.callback(signal.signal, signal.SIGINT, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._is_interrupted = True
        raise KeyboardInterrupt

    def _stop_if_interrupted(self) -> None:
        # C code that looks up an attribute may have swallowed the exception of Ctrl-C.
        if self._is_interrupted:
            raise KeyboardInterrupt

    @property
    def parts(self) -> tuple[PartHistory, ...]:
        """The epochs so far, by part."""
        return tuple(PartHistory(part, tuple(epochs.values())) for part, epochs in self._parts.items())

    @property
    def history(self) -> str:
        """All epochs so far as a JSON list."""
        return json.dumps(self._lines())

    def epoch(self, part: str, epoch: Epoch) -> None:
        """Record an epoch that has just ended."""
        self._store(part, [epoch])
        self.say(f"{part}, epoch {epoch.number}: loss {epoch.loss:.4f}, {_validation(epoch)}")
        self._counted[part] = self._counted.get(part, 0) + 1
        self._bar.update(self._task, advance=1, description=f"{part}: loss {epoch.loss:.3f}")
        for name, value in _scalars(epoch):
            if self._board is not None and value is not None:
                self._board.add_scalar(f"{part}/{name}", value, epoch.number)
        self._stop_if_interrupted()

    def part(self, part: str, epochs: Sequence[Epoch], planned: int) -> None:
        """Record all epochs of a finished part, including those from before a resume."""
        self._store(part, epochs)
        # Epochs from before a resume have not been counted by this bar.
        self._bar.update(self._task, advance=planned - self._counted.pop(part, 0), description=f"{part}: done")
        self._stop_if_interrupted()

    def judging(self, images: int) -> None:
        """Start counting evaluated images instead of epochs."""
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task("evaluating", total=images)

    def judged(self) -> None:
        """Count one evaluated image."""
        self._bar.advance(self._task)
        self._stop_if_interrupted()

    def say(self, text: str) -> None:
        """Add a line to the log."""
        if not self._leads:
            return
        with (self._folder.path / "log").open("a", encoding="utf-8") as log:
            log.write(text + "\n")

    def _store(self, part: str, epochs: Sequence[Epoch]) -> None:
        known = self._parts.setdefault(part, {})
        known.update({epoch.number: epoch for epoch in epochs})
        if self._leads:
            write_whole(self._folder.history, "".join(json.dumps(line) + "\n" for line in self._lines()).encode())

    def _lines(self) -> list[dict[str, str | int | float | None]]:
        return [{"part": part.part, **asdict(epoch)} for part in self.parts for epoch in part.epochs]


def _scalars(epoch: Epoch) -> tuple[tuple[str, float | None], ...]:
    return (
        ("loss", epoch.loss),
        ("learning rate", epoch.learning_rate),
        ("validation loss", epoch.validation_loss),
        ("validation AUC", epoch.validation_auc),
    )


def _validation(epoch: Epoch) -> str:
    if epoch.validation_loss is None:
        return "no validation images"
    auc = "" if epoch.validation_auc is None else f", AUC {epoch.validation_auc:.4f}"
    return f"validation loss {epoch.validation_loss:.4f}{auc}"


def _open_board(folder: RunFolder) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (slow to import, and often not installed)
    except ImportError as error:
        raise ValueError("--tensorboard needs the package tensorboard: run pip install tensorboard") from error
    return SummaryWriter(str(folder.path / "tensorboard"))
