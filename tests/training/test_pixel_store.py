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

from core.fitting.pixel_cache import PixelStore, Wanted
from core.results import RgbImage

_KILLS = 5
_CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from core.fitting.pixel_cache import PixelStore, Wanted
def pixels(wanted, data):
    time.sleep(0.002)
    if wanted.path == Path(sys.argv[-1]):
        sys.stdin.read()  # the end comes only when the test closes this
    return np.full((40, 50, 3), int(wanted.path.stem), np.uint8)
def ready(done, total):
    print(done, flush=True)
PixelStore(Path(sys.argv[1]), "killed").fetch([Wanted(Path(line)) for line in sys.argv[2:]], pixels, ready)
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


def _never(wanted: Wanted, data: bytes) -> RgbImage:
    pytest.fail(f"{wanted.path} was reported as ready")


def test_what_is_left_after_a_kill_is_whole(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(250)]
    for path in paths:
        path.write_text(path.name)
    rng, reported = np.random.default_rng(0), [0]
    while reported[-1] < len(paths):
        killed = len(reported) <= _KILLS
        cache = tmp_path / "cache"
        reported.append(_killed_after(rng.uniform(0.0, 0.2), cache, paths) if killed else _finished(cache, paths))
        ready = [Wanted(path) for path in paths[: reported[-1]]]
        views = PixelStore(tmp_path / "cache", "killed").fetch(ready, _never, lambda ready, total: None)
        assert [set(np.unique(view)) for view in views] == [{number} for number in range(reported[-1])]
    assert reported == sorted(reported)
    assert len(reported) > 2, "no kill fell into the filling"


@settings(max_examples=25)
@given(cut_at=st.integers(min_value=0, max_value=3000))
def test_an_index_cut_at_any_byte_gives_the_right_pixels(tmp_path_factory: pytest.TempPathFactory, cut_at: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    images = [Wanted(folder / f"{number}.txt") for number in range(12)]
    for image in images:
        image.path.write_text(image.path.name)

    def pixels(wanted: Wanted, data: bytes) -> RgbImage:
        return np.full((2 + int(wanted.path.stem), 3, 3), int(wanted.path.stem), np.uint8)

    store = PixelStore(folder, "cut")
    store.fetch(images, pixels, lambda ready, total: None)
    index = folder / "cut.jsonl"
    os.truncate(index, min(cut_at, index.stat().st_size))
    views = store.fetch(images, pixels, lambda ready, total: None)
    assert [(view.shape[0] - 2, int(view.min()), int(view.max())) for view in views] == [(n, n, n) for n in range(12)]


def test_one_file_at_two_scales_is_kept_at_both_and_made_once_at_each(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one")
    (tmp_path / "copy.txt").write_text("one")
    made = []

    def pixels(wanted: Wanted, data: bytes) -> RgbImage:
        made.append((wanted.path.name, wanted.factor))
        return np.full((2, round(4 * wanted.factor), 3), 7, np.uint8)

    wanted = [Wanted(tmp_path / name, factor) for name in ("one.txt", "copy.txt") for factor in (1.0, 0.5)]
    for _ in range(2):
        views = PixelStore(tmp_path / "cache", "scales").fetch(wanted, pixels, lambda ready, total: None)
        assert [view.shape[1] for view in views] == [4, 2, 4, 2]
    assert sorted({factor for _, factor in made}) == [0.5, 1.0]
    assert len([name for name, _ in made if name == "one.txt"]) == 2
