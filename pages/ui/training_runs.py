"""The training runs and their curves, live while a run goes on."""

from collections.abc import Sequence

import streamlit as st

from core.fit.run_history import PartHistory
from db import store
from db.evaluation_values import RunRow, RunState
from pages.ui import charts, downloads, panels, resources
from pages.ui.export import history_csv
from service.training_runs import Progress, progress_of

_REFRESH = "3s"  # while a run goes on
_NONE = """
No training run is known to this database. Start one, with the same SECOND_READ_DATA as this app:
"""
_COMMAND = "python -m training.train training/configs/starter.toml --data FOLDER"


def training_runs(runs: Sequence[RunRow]) -> None:
    """Draw the curves of the chosen run."""
    if not runs:
        st.markdown(_NONE)
        st.code(_COMMAND, "bash")
        return
    by_id = {run.id: run for run in runs}
    chosen = st.selectbox("Run", list(by_id), format_func=lambda number: _words(by_id[number]), key="run")
    running = by_id[chosen].state is RunState.RUNNING
    st.fragment(_curves, run_every=_REFRESH if running else None)(chosen, running)


def _curves(number: int, live: bool) -> None:
    with resources.sessions().read() as session:
        run = store.run(session, number)
    if run is None:
        return
    if live and run.state is not RunState.RUNNING:
        st.rerun()
    progress = progress_of(run)
    st.caption(panels.plain(_state(run, progress)))
    if progress.problem:
        st.warning(panels.plain(progress.problem))
        return
    if not progress.parts:
        st.markdown("No epoch has ended yet.")
        return
    parts = _chosen_parts(progress.parts, number)
    st.plotly_chart(charts.training_curves(parts), key=f"curves-{number}")
    st.caption("Training dotted, validation full lines; a ring marks the best epoch of each part.")
    downloads.offer("Epochs as CSV", f"epochs of training run {run.name}", history_csv(progress.parts))


def _chosen_parts(parts: Sequence[PartHistory], number: int) -> list[PartHistory]:
    if len(parts) < 2:
        return list(parts)
    names = [part.part for part in parts]
    wanted = st.pills("Parts; all of them if none is chosen", names, selection_mode="multi", key=f"parts-{number}")
    return [part for part in parts if not wanted or part.part in wanted]


def _words(run: RunRow) -> str:
    return f"{run.name} – {run.state.value}, started {panels.day_and_clock(run.started_at)}"


def _state(run: RunRow, progress: Progress) -> str:
    count = sum(len(part.epochs) for part in progress.parts)
    epochs = panels.count_words(count, "epoch")
    if run.finished_at:
        return f"{run.state.value} {panels.day_and_clock(run.finished_at)}, {epochs}, in {run.folder}"
    heard = f", the last at {panels.day_and_clock(progress.heard_at)}" if progress.heard_at and count else ""
    return f"{run.state.value}, {epochs} so far{heard}, in {run.folder}"
