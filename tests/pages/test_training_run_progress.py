"""How far a run has come, from its folder and from its row."""

import os
from datetime import UTC, datetime
from pathlib import Path

from db.values.evaluations import RunRow, RunState
from pages.ui.models.training_runs import read_progress
from tests.helpers.runs.histories import as_document, run_lines

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def run_in(folder: Path, history: str | None = None) -> RunRow:
    state, ended = (RunState.FINISHED, NOON) if history else (RunState.RUNNING, None)
    return RunRow(1, "starter", str(folder), state, NOON, ended, "{}", history, None)


def test_a_running_run_is_read_from_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(run_lines(), encoding="utf-8")
    os.utime(file, (NOON.timestamp(), NOON.timestamp()))
    progress = read_progress(run_in(tmp_path))
    assert [len(part.epochs) for part in progress.parts] == [6, 6]
    assert (progress.heard_at, progress.problem) == (NOON, None)


def test_an_ended_run_is_read_from_its_row_even_when_its_folder_is_gone(tmp_path: Path) -> None:
    progress = read_progress(run_in(tmp_path / "gone", as_document(run_lines())))
    assert [part.part for part in progress.parts] == ["fold 1", "fold 2"]
    assert progress.heard_at == NOON


def test_a_folder_that_is_not_here_is_said(tmp_path: Path) -> None:
    progress = read_progress(run_in(tmp_path / "gone"))
    assert progress.parts == ()
    assert progress.problem is not None
    assert "gone is not on this computer" in progress.problem


def test_a_history_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text("nonsense\n{", encoding="utf-8")
    assert "line 1 of the history" in (read_progress(run_in(tmp_path)).problem or "")
    assert "cannot be read" in (read_progress(run_in(tmp_path, "nonsense")).problem or "")
