"""The record of a run in progress."""

import contextlib
import signal
from pathlib import Path

import pytest

from core.run_history import Epoch
from training.runs.folder import RunFolder
from training.runs.record import Record


def test_an_interrupt_that_was_swallowed_stops_the_run_at_the_end_of_its_epoch(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    folder = RunFolder(tmp_path)
    with Record(folder, total=3) as record:
        record.epoch("whole", Epoch(1, "p", 1.0, 0.5))
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            record.epoch("whole", Epoch(2, "p", 1.0, 0.4))
    assert len(folder.history.read_text().splitlines()) == 2, "the epoch that had ended is kept"
    assert signal.getsignal(signal.SIGINT) is before
