import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.fitting.pixel_cache import PixelStore
from core.results import RgbImage

_KILLS = 5
_CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from core.fitting.pixel_cache import PixelStore
def pixels(path, data):
    time.sleep(0.002)
    if path == Path(sys.argv[-1]):
        sys.stdin.read()  # the end comes only when the test closes this
    return np.full((40, 50, 3), int(path.stem), np.uint8)
def ready(done, total):
    print(done, flush=True)
PixelStore(Path(sys.argv[1]), "killed").fetch([Path(line) for line in sys.argv[2:]], pixels, ready)
"""


def _filling(cache: Path, paths: Sequence[Path]) -> "subprocess.Popen[str]":
    """Fill a cache in another process, which waits at the last image until its standard input ends."""
    command = [sys.executable, "-c", _CHILD, str(cache), *map(str, paths)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _killed_after(seconds: float, cache: Path, paths: Sequence[Path]) -> int:
    """Kill a process that fills a cache, and return the last number of images it reported as ready."""
    with _filling(cache, paths) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        return int([first, *child.stdout.read().splitlines()][-1])


def _finished(cache: Path, paths: Sequence[Path]) -> int:
    """Let a process fill a cache to the end, and return the last number of images it reported as ready."""
    with _filling(cache, paths) as child:
        return int(child.communicate()[0].splitlines()[-1])


def _never(path: Path, data: bytes) -> RgbImage:
    pytest.fail(f"{path} was reported as ready")


def test_what_is_left_after_a_kill_is_whole(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(250)]
    for path in paths:
        path.write_text(path.name)
    rng, reported = np.random.default_rng(0), [0]
    while reported[-1] < len(paths):
        killed = len(reported) <= _KILLS
        cache = tmp_path / "cache"
        reported.append(_killed_after(rng.uniform(0.0, 0.2), cache, paths) if killed else _finished(cache, paths))
        views = PixelStore(tmp_path / "cache", "killed").fetch(paths[: reported[-1]], _never, lambda ready, total: None)
        assert [set(np.unique(view)) for view in views] == [{number} for number in range(reported[-1])]
    assert reported == sorted(reported)
    assert len(reported) > 2, "no kill fell into the filling"


@settings(max_examples=25)
@given(cut_at=st.integers(min_value=0, max_value=3000))
def test_an_index_cut_at_any_byte_gives_the_right_pixels(tmp_path_factory: pytest.TempPathFactory, cut_at: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    paths = [folder / f"{number}.txt" for number in range(12)]
    for path in paths:
        path.write_text(path.name)

    def pixels(path: Path, data: bytes) -> RgbImage:
        return np.full((2 + int(path.stem), 3, 3), int(path.stem), np.uint8)

    store = PixelStore(folder, "cut")
    store.fetch(paths, pixels, lambda ready, total: None)
    index = folder / "cut.jsonl"
    os.truncate(index, min(cut_at, index.stat().st_size))
    views = store.fetch(paths, pixels, lambda ready, total: None)
    assert [(view.shape[0] - 2, int(view.min()), int(view.max())) for view in views] == [(n, n, n) for n in range(12)]
