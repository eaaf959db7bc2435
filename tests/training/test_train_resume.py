"""A run that was killed, at any point and as often as one likes, goes on to the very same checkpoint."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from core.card import read_card
from db import store
from db.database import open_database
from db.values.evaluations import RunState
from tests.helpers.forked import TRAINING, PipedProgram, Program, running
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.runs.small_runs import Place
from tests.helpers.stress import amount
from training import train
from training.runs.folder import RunFolder

PROJECT = Path(__file__).resolve().parents[2]
SHORT = ("generated.images=2", "phases.0.epochs=3")
RANDOM = random.Random(5)  # noqa: S311
LAST_FILE = ("card.json", 1)  # the last file of a run: one that is held there has done all else


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    # A commit in the middle of a test would stand in the one card and not in the other.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    place = Place(tmp_path)
    tissue_folder(place.tissue)
    return place


def command(*arguments: str | Path, held_at: tuple[str, int] | None = None) -> AbstractContextManager[PipedProgram]:
    """Start a run, which waits for good before it puts a file with so many lines in place, if one is named."""
    if held_at is None:
        return running("training.train", *arguments, imported=TRAINING)
    return running("tests.helpers.runs.held_run", *held_at, *arguments, imported=TRAINING)


def new_run(place: Place, held_at: tuple[str, int]) -> AbstractContextManager[PipedProgram]:
    sets = [word for assignment in SHORT for word in ("--set", assignment)]
    folders = ("--data", place.tissue, "--runs", place.runs, "--out", place.path / "killed.safetensors")
    return command(place.config, *folders, *sets, "--threads", "1", "--database", place.database, held_at=held_at)


def wait_for(happened: Callable[[], bool], process: Program) -> bool:
    """Wait until something happened, as long as pytest lets a test run; False if the process ended before."""
    while not happened():
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def lines_told(place: Place, wanted: int) -> Callable[[], bool]:
    def told() -> bool:
        paths = list(place.runs.glob("[!.]*/history.jsonl"))
        return bool(paths) and len(paths[0].read_text().splitlines()) >= wanted

    return told


def finished_parts(place: Place) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in place.runs.glob("*/parts/*/weights.safetensors")}


@pytest.mark.slow
def test_a_run_killed_again_and_again_gives_the_same_checkpoint(place: Place) -> None:
    whole = place.train(*SHORT, name="whole.safetensors")
    uninterrupted = place.only_run()
    uninterrupted.path.rename(place.path / "uninterrupted")
    points = [
        *(lines_told(place, wanted) for wanted in sorted(RANDOM.sample(range(1, 19), amount(3, 0)))),
        lambda: any(place.runs.glob("*/parts/judged-raw.jsonl")),
        lambda: any(place.runs.glob("*/folds/2.safetensors")),
    ]
    finished: dict[Path, int] = {}
    run = new_run(place, held_at=LAST_FILE)
    for number, point in enumerate(points, 1):
        with run as process:
            assert wait_for(point, process)
            time.sleep(RANDOM.uniform(0, 0.3))  # a kill at any moment after the point; the end is not reached in it
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        assert finished.items() <= finished_parts(place).items(), "a finished part was trained again"
        finished = finished_parts(place)
        held_at = LAST_FILE if number < len(points) else None
        run = command("--resume", place.only_run().path, "--database", place.database, held_at=held_at)
    with run as process:
        ended = process.finish()
    assert ended.returncode == 0, ended.stderr
    assert (place.path / "killed.safetensors").read_bytes() == whole.read_bytes()
    folder = place.only_run()
    assert not folder.parts.exists()
    first = RunFolder(place.path / "uninterrupted")
    assert told(folder) == told(first)
    for name in ("predictions.parquet", "split.csv", "folds/1.safetensors"):
        assert (folder.path / name).read_bytes() == (first.path / name).read_bytes()
    assert states(place)[str(folder.path)] is RunState.FINISHED


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_a_second_command_does(place: Place) -> None:
    with new_run(place, held_at=("history.jsonl", 3)) as process:
        assert wait_for(lines_told(place, 2), process)
        process.send_signal(signal.SIGINT)
        ended = process.finish()
    folder = place.only_run()
    assert ended.returncode == 130, ended.stderr
    assert f"python -m training.train --resume {folder.path}" in ended.stderr
    assert states(place) == {str(folder.path): RunState.FAILED}
    train.run(resume=folder.path, database=place.database)
    assert read_card(place.path / "killed.safetensors").metrics
    assert states(place) == {str(folder.path): RunState.FINISHED}


@pytest.mark.slow
def test_two_processes_train_one_network_and_one_of_them_writes(place: Place) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["--data", place.tissue, "--runs", place.runs, "--database", place.database, "--threads", "1"]
    sets = ["--set", "generated=", "--set", "members=1", "--set", "phases.0.epochs=1"]
    line = [*torchrun, "-m", "training.train", place.config, *options, *sets]
    done = subprocess.run(list(map(str, line)), check=False, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert read_card(place.only_run().checkpoint).metrics
    assert len(told(place.only_run())) == 3
    assert list(states(place).values()) == [RunState.FINISHED]


def told(folder: RunFolder) -> list[dict[str, object]]:
    """The history without the times, which differ."""
    lines = [json.loads(line) for line in folder.history.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def states(place: Place) -> dict[str, RunState]:
    sessions = open_database(place.database)
    with sessions.read() as session:
        found = {row.folder: row.state for row in store.models.runs(session)}
    sessions.dispose()
    return found
