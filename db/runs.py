"""Training runs: a row from the start of each, completed at its end."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.evaluation_models import Run
from db.evaluation_values import RunRow, RunState


def start_run(session: Session, name: str, folder: str, config: str) -> int:
    """Note that a run has begun in a folder and give its id; one that is resumed there keeps its row."""
    row = session.scalar(select(Run).where(Run.folder == folder).with_for_update())
    if row is None:
        row = Run(name=name, folder=folder, started_at=datetime.now(UTC))
        session.add(row)
    row.name, row.config, row.state = name, config, RunState.RUNNING
    row.finished_at = row.history = row.checkpoint_sha256 = None
    session.flush()
    return row.id


def finish_run(
    session: Session, run_id: int, state: RunState, history: str, checkpoint_sha256: str | None = None
) -> None:
    """Note how a run ended.

    Raises:
        LookupError: If there is no such run.
        ValueError: If it is said to be still running.
    """
    if state is RunState.RUNNING:
        raise ValueError("a run ends finished or failed, not running")
    row = session.get(Run, run_id)
    if row is None:
        raise LookupError(f"there is no run number {run_id}")
    row.state, row.history, row.checkpoint_sha256 = state, history, checkpoint_sha256
    row.finished_at = datetime.now(UTC)
    session.flush()


def runs(session: Session) -> list[RunRow]:
    """Give all runs, newest first."""
    return [_value(row) for row in session.scalars(select(Run).order_by(Run.started_at.desc(), Run.id.desc()))]


def run(session: Session, run_id: int) -> RunRow | None:
    """Find a run by its number."""
    row = session.get(Run, run_id)
    return _value(row) if row else None


def _value(row: Run) -> RunRow:
    return RunRow(
        id=row.id,
        name=row.name,
        folder=row.folder,
        state=row.state,
        started_at=row.started_at,
        finished_at=row.finished_at,
        config=row.config,
        history=row.history,
        checkpoint_sha256=row.checkpoint_sha256,
    )
