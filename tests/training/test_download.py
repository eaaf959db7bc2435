import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.helpers.archives import make_tar, make_zip
from tests.helpers.broken_server import Shelf, serving
from tests.helpers.images.dataset_trees import bach_tree, breakhis_tree, idc_tree
from training import fetch as fetching
from training.download import run as download_command
from training.fetch import FetchError, fetch

_PROJECT = Path(__file__).resolve().parents[2]
DATA = bytes(range(256)) * 4000  # 1 MB
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_MAX_WAIT_SECONDS", 0.01)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_connection_that_breaks_off_in_the_middle_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    shelf = Shelf(DATA, breaks_after=[300_000, 250_000])
    seen: list[tuple[int, int | None]] = []
    with serving(shelf) as url:
        found = fetch(url, tmp_path / "a.zip", SHA256, lambda *here: seen.append(here))
    assert found.read_bytes() == DATA
    assert shelf.asked == ["", "bytes=300000-", "bytes=550000-"]
    assert seen[-1] == (len(DATA), len(DATA))
    assert leftovers(tmp_path) == ["a.zip"]


def test_a_second_run_goes_on_with_what_the_first_left(tmp_path: Path) -> None:
    shelf = Shelf(DATA, breaks_after=[400_000] + [0] * 6)
    with serving(shelf) as url:
        with pytest.raises(FetchError, match="run the same command again to resume; 400,000 bytes are saved"):
            fetch(url, tmp_path / "a.zip")
        assert leftovers(tmp_path) == ["a.zip.part", "a.zip.part.json"]
        fetch(url, tmp_path / "a.zip", SHA256)
        asked = len(shelf.asked)
        fetch(url, tmp_path / "a.zip", SHA256)  # is here, so nobody is asked
    assert shelf.asked[asked - 1 :] == ["bytes=400000-"]


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    shelf = Shelf(DATA, breaks_after=[600_000], stalls=threading.Event())
    code = (
        "from pathlib import Path; from training.fetch import fetch; import sys; fetch(sys.argv[1], Path(sys.argv[2]))"
    )
    part = tmp_path / "a.zip.part"
    with serving(shelf) as url:
        process = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path / "a.zip")], cwd=_PROJECT)
        end = time.monotonic() + 60
        while time.monotonic() < end and not (part.is_file() and part.stat().st_size > 500_000):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        shelf.stalls.set()
        kept = part.stat().st_size
        fetch(url, tmp_path / "a.zip", SHA256)
    assert 500_000 < kept <= 600_000
    assert shelf.asked == ["", f"bytes={kept}-"]


@pytest.mark.parametrize("ignores_if_range", [False, True])
def test_a_file_that_changed_in_between_is_not_sewn_together(tmp_path: Path, *, ignores_if_range: bool) -> None:
    other = DATA[::-1]
    shelf = Shelf(DATA, breaks_after=[400_000] + [0] * 6, ignores_if_range=ignores_if_range)
    with serving(shelf) as url:
        with pytest.raises(FetchError):
            fetch(url, tmp_path / "a.zip")
        shelf.data, shelf.tag = other, '"second"'
        assert fetch(url, tmp_path / "a.zip").read_bytes() == other


def test_a_file_that_became_shorter_is_fetched_anew(tmp_path: Path) -> None:
    shelf = Shelf(DATA, breaks_after=[400_000] + [0] * 6, ignores_if_range=True)
    with serving(shelf) as url:
        with pytest.raises(FetchError):
            fetch(url, tmp_path / "a.zip")
        shelf.data = DATA[:1000]
        assert fetch(url, tmp_path / "a.zip").read_bytes() == DATA[:1000]


@pytest.mark.parametrize(
    ("tag", "changed", "continued"),
    [
        ("", "Fri, 20 Nov 2026 10:00:00 GMT", True),
        ('W/"weak"', "Fri, 20 Nov 2026 10:00:00 GMT", True),
        ('W/"weak"', "", False),
        ("", "", False),
    ],
)
def test_only_what_names_the_very_bytes_lets_a_part_be_continued(
    tmp_path: Path, tag: str, changed: str, *, continued: bool
) -> None:
    shelf = Shelf(DATA, tag=tag, changed=changed, breaks_after=[300_000])
    with serving(shelf) as url:
        assert fetch(url, tmp_path / "a.zip").read_bytes() == DATA
    assert shelf.asked == ["", "bytes=300000-" if continued else ""]


def test_a_server_without_ranges_is_asked_from_the_start(tmp_path: Path) -> None:
    shelf = Shelf(DATA, ranges=False, breaks_after=[900_000, 100_000])
    with serving(shelf) as url:
        assert fetch(url, tmp_path / "a.zip").read_bytes() == DATA


def test_a_server_that_sends_less_than_the_rest_is_asked_for_more(tmp_path: Path) -> None:
    shelf = Shelf(DATA, longest=300_000, breaks_after=[400_000])
    with serving(shelf) as url:
        assert fetch(url, tmp_path / "a.zip").read_bytes() == DATA
    assert shelf.asked == ["", "bytes=400000-", "bytes=700000-", "bytes=1000000-"]


def test_a_wrong_checksum_is_refused_and_never_gets_the_files_name(tmp_path: Path) -> None:
    with serving(Shelf(DATA)) as url, pytest.raises(FetchError, match=f"has sha256 {SHA256}, not 00"):
        fetch(url, tmp_path / "a.zip", "00" * 32)
    assert not (tmp_path / "a.zip").exists()


def test_a_refusal_names_the_way_out_and_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    with serving(Shelf(DATA, status=403)) as url, pytest.raises(FetchError, match=r"403 Forbidden.*--archive FILE"):
        fetch(url, tmp_path / "a.zip")
    busy = Shelf(DATA, status=503)
    with serving(busy) as url, pytest.raises(FetchError, match="the server answered 503"):
        fetch(url, tmp_path / "a.zip")
    assert len(busy.asked) == 6


def invoke(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(download_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def packed(tree: Path, archive: Path) -> Path:
    files = {str(path.relative_to(tree.parent)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    return (make_zip if archive.suffix == ".zip" else make_tar)(archive, files)


@pytest.mark.parametrize(
    ("dataset", "tree", "counted"),
    [
        ("breakhis", breakhis_tree, "40 images of 15 patients"),
        ("bach", bach_tree, "8 images of 8 patients"),
        ("idc", idc_tree, "12 images of 3 patients"),
    ],
)
def test_each_dataset_is_unpacked_and_counted(
    tmp_path: Path, dataset: str, tree: Callable[[Path], Path], counted: str
) -> None:
    archive = packed(tree(tmp_path / "release"), tmp_path / "release.tar.gz")
    result = invoke(dataset, "--archive", archive, "--out", tmp_path / "data")
    assert result.exit_code == 1  # a few made images are not the release
    assert counted in result.stdout
    assert "missing" in result.stdout
    assert archive.is_file()
    again = invoke(dataset, "--archive", archive, "--out", tmp_path / "data")
    assert "already exists, so images were only counted" in again.stdout


def test_the_command_fetches_through_a_broken_connection(tmp_path: Path) -> None:
    data = packed(idc_tree(tmp_path / "release"), tmp_path / "release.zip").read_bytes()
    shelf = Shelf(data, breaks_after=[len(data) // 2])
    with serving(shelf) as url:
        result = invoke("idc", "--url", url, "--sha256", hashlib.sha256(data).hexdigest(), "--out", tmp_path / "data")
    assert "12 images of 3 patients" in result.stdout
    assert shelf.asked == ["", f"bytes={len(data) // 2}-"]
    assert leftovers(tmp_path / "data") == ["archive.zip", "images"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either --url or --archive"),
        (("--url", "http://127.0.0.1:9/a", "--archive", "a.zip"), "either --url or --archive"),
        (("--url", "ftp://127.0.0.1/a.zip"), "not an http or https address"),
        (("--archive", "absent.zip"), "absent.zip"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = invoke("bach", "--out", tmp_path / "data", *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "data" / "images").exists()


def test_an_archive_with_another_checksum_is_not_opened_and_not_deleted(tmp_path: Path) -> None:
    archive = packed(bach_tree(tmp_path / "release"), tmp_path / "release.zip")
    result = invoke("bach", "--archive", archive, "--sha256", "00" * 32, "--out", tmp_path / "data")
    assert result.exit_code == 2
    assert "has sha256" in result.stdout
    assert archive.is_file()
    assert not (tmp_path / "data").exists()


def test_a_part_of_unknown_origin_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"something else")
    (tmp_path / "a.zip.part.json").write_text(json.dumps({"url": "http://other/", "validator": '"first"', "total": 9}))
    shelf = Shelf(DATA)
    with serving(shelf) as url:
        assert fetch(url, tmp_path / "a.zip").read_bytes() == DATA
    assert shelf.asked == [""]
