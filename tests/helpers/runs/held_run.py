"""Trains as `training.train` does, but waits at a file: `python -m tests.helpers.runs.held_run FILE LINES ARGUMENTS`.

When the run is about to put a file of this name in place with so many lines or more, it waits for the end of its
standard input. A test that keeps that open can send a signal at any speed: the run has not ended before.
"""

import runpy
import sys
from pathlib import Path


def hold_at(name: str, lines: int) -> None:
    """Wait before a file is renamed to the name, by an audit hook: Python calls it before the rename."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event != "os.rename" or Path(str(arguments[1])).name != name:
            return
        if len(Path(str(arguments[0])).read_bytes().splitlines()) >= lines:
            sys.stdin.read()

    sys.addaudithook(hook)


if __name__ == "__main__":
    name, lines, *arguments = sys.argv[1:]
    sys.argv = ["training.train", *arguments]
    hold_at(name, int(lines))
    runpy.run_module("training.train", run_name="__main__", alter_sys=True)
