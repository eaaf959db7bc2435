"""How far a training run has come: from its folder while it runs, from its row once it has ended."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.fit.run_history import HISTORY_FILE, PartHistory, read_document, read_lines
from db.evaluation_values import RunRow


@dataclass(frozen=True, slots=True)
class Progress:
    """The epochs of a run so far; `problem` says why there are none, `heard_at` when the last one was written."""

    parts: tuple[PartHistory, ...] = ()
    heard_at: datetime | None = None
    problem: str | None = None


def progress_of(run: RunRow) -> Progress:
    """Read the history of a run."""
    try:
        if run.history is not None:
            return Progress(read_document(run.history), run.finished_at)
        file = Path(run.folder) / HISTORY_FILE
        if not file.is_file():
            return Progress(problem=f"no epoch has ended yet, or the folder {run.folder} is not on this computer")
        heard_at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return Progress(read_lines(file.read_text(encoding="utf-8")), heard_at)
    except (OSError, ValueError) as error:
        return Progress(problem=f"the history of the run cannot be read: {error}")
