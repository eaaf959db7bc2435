"""A cohort has exactly one row per image, whatever its images are and however often it is killed."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from core.__main__ import app
from core.cohort.listing import CohortFile, list_cohort
from core.cohort.on_ray import score_on_ray
from core.cohort.parts import PART_ROWS, CohortInUseError, CohortResults
from core.cohort.rows import COLUMNS, ScoredImage, build_table, score_image
from core.computing import WantedComputing
from core.imaging.demo import generate_tissue
from core.imaging.scale import Scale
from tests.helpers.fakes import FakeClassifier
from tests.helpers.networks import small_checkpoint

MODEL = "model 0"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with more images than one part has, and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    tissue = generate_tissue(1, "benign", 64, 64)
    for number in range(PART_ROWS + 6):
        tissue[0, 0] = number
        cv2.imwrite(str(folder / f"{number:03}.png"), tissue)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def scored(files: Sequence[CohortFile], made_with: str = MODEL) -> Iterator[pa.Table]:
    classifier = FakeClassifier()
    return (build_table([score_image(file, classifier, "0" * 12)], made_with) for file in files)


def then_waits(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield from tables
    Event().wait()


def paths(table: pa.Table) -> list[str]:
    named: list[str] = table.column("path").to_pylist()
    return named


def test_a_killed_run_goes_on_and_gives_the_same_rows_once(images: Path, tmp_path: Path) -> None:
    files = list_cohort(images)
    whole = CohortResults(tmp_path / "whole.parquet", MODEL)
    with whole.alone():
        assert sum(whole.store(scored(files))) == len(files)
        expected = whole.finish(files)
    killed = CohortResults(tmp_path / "killed.parquet", MODEL)
    child = os.fork()
    if child == 0:
        with killed.alone():
            list(killed.store(then_waits(islice(scored(files), PART_ROWS + 3))))
    while not list(killed.folder.glob("part-*.parquet")):
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with killed.alone():
        missing = killed.find_missing(files)
        assert [file.name for file in missing] == [file.name for file in files[PART_ROWS:]]
        assert sum(killed.store(scored(missing))) == len(missing)
        table = killed.finish(files)
    assert paths(table) == paths(expected) == [file.name for file in files]
    timeless = [name for name in table.schema.names if name != "seconds"]
    assert table.select(timeless).equals(expected.select(timeless))
    assert not killed.folder.exists()
    assert pq.read_table(killed.out).equals(table)


def test_what_was_scored_is_kept_when_somebody_stops_it(images: Path, tmp_path: Path) -> None:
    files, results = list_cohort(images), CohortResults(tmp_path / "scores.parquet", MODEL)

    def interrupted() -> Iterator[pa.Table]:
        yield from scored(files[:3])
        raise KeyboardInterrupt

    with results.alone():
        with pytest.raises(KeyboardInterrupt):
            list(results.store(interrupted()))
        assert results.find_missing(files) == files[3:]


def test_a_changed_image_and_rows_of_another_model_are_scored_again(images: Path, tmp_path: Path) -> None:
    files, out = list_cohort(images)[:4], tmp_path / "scores.parquet"
    results = CohortResults(out, MODEL)
    with results.alone():
        list(results.store(scored(files)))
        results.finish(files)
        assert results.find_missing(files) == []
        cv2.imwrite(str(files[1].path), np.zeros((64, 64, 3), np.uint8))
        assert results.find_missing(files) == [files[1]]
        list(results.store(scored([files[1]])))
        table = results.finish(files)
        assert paths(table) == [file.name for file in files]
        assert table.column("sharpness")[1].as_py() == 0
        assert CohortResults(out, "model 1").find_missing(files) == files


def test_two_processes_cannot_score_into_one_table(tmp_path: Path) -> None:
    results = CohortResults(tmp_path / "scores.parquet", MODEL)
    with results.alone(), pytest.raises(CohortInUseError, match="another process"), results.alone():
        pass


def test_every_column_is_explained_in_the_file() -> None:
    assert {name for name, _, _ in COLUMNS} == {field.name for field in fields(ScoredImage)}
    schema = build_table([], MODEL).schema
    assert all(schema.field(name).metadata[b"meaning"] for name in schema.names)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    small_checkpoint(file)
    return file


def score(source: Path, out: Path, checkpoint: Path) -> Result:
    return CliRunner().invoke(app, ["score", str(source), "--out", str(out), "--checkpoint", str(checkpoint)])


def test_a_table_gives_labels_and_scales_and_bad_images_are_rows_with_their_error(
    tmp_path: Path, checkpoint: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), generate_tissue(1, "malignant", 230, 300)[:, :, ::-1])
    (tmp_path / "b.png").write_bytes(b"no image")
    (tmp_path / "list.csv").write_text(
        "path,label,um_per_px\na.png,malignant,0.25\n./b.png,benign,\nc.png,,\nsub/../a.png.txt,,9\n"
    )
    out = tmp_path / "scores.parquet"
    done = score(tmp_path / "list.csv", out, checkpoint)
    assert done.exit_code == 1, done.output
    assert "4 images: 1 with a prediction" in done.stderr
    rows = pq.read_table(out).to_pylist()
    assert [row["path"] for row in rows] == ["a.png", "b.png", "c.png", "a.png.txt"]
    assert [row["label"] for row in rows] == ["malignant", "benign", None, None]
    assert [row["probability"] is None for row in rows] == [False, True, True, True]
    assert rows[0]["error"] is None
    assert rows[0]["um_per_px"] == 0.25
    assert len(rows[0]["sha256"]) == 64
    assert rows[0]["benign_patches"] + rows[0]["malignant_patches"] == 4
    assert all(row["error"] for row in rows[1:])
    assert "no such file" in rows[2]["error"]
    again = score(tmp_path / "list.csv", out, checkpoint)
    assert "2 of 4 images have been scored already" in again.stderr
    assert pq.read_table(out).select(["path", "sha256", "probability", "error"]).to_pylist() == [
        {name: row[name] for name in ("path", "sha256", "probability", "error")} for row in rows
    ]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("path\na.png\na.png\n", "only once"),
        ("path\nb.png\nlink.png\n", "b.png and link.png are one file"),
        ("path\nb.png\nhard.png\n", "b.png and hard.png are one file"),
        ("path\nsub\\c.png\nsub/c.png\n", "two images are called sub/c.png"),
        ("path\n", "no images"),
        ("picture\na.png\n", "path"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, checkpoint: Path, table: str, says: str
) -> None:
    (tmp_path / "list.csv").write_text(table)
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "sub/c.png"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "link.png").symlink_to("b.png")
    os.link(tmp_path / "b.png", tmp_path / "hard.png")
    done = score(tmp_path / "list.csv", tmp_path / "scores.parquet", checkpoint)
    assert (done.exit_code, says in done.stderr) == (2, True), done.output


def test_what_a_folder_holds_beside_images_is_told(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("a.png", "notes.txt", "report.pdf"):
        (tmp_path / "set" / name).write_bytes(b"no image")
    done = score(tmp_path / "set", tmp_path / "scores.parquet", checkpoint)
    assert "Not images, ignored: 2 (notes.txt, report.pdf)" in done.stderr
    assert "1 image: 0 with a prediction" in done.stderr


def test_names_and_scales_in_a_list_are_read_as_in_a_table_of_labels(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("sub/a.png", "b c.png"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "list.csv").write_text("file;um_per_px\nsub\\a.png;0,25\nb%20c.png;0,5 px\n")
    one, other = list_cohort(tmp_path / "list.csv")
    assert (one.path, one.problem, one.scale) == (tmp_path / "sub" / "a.png", None, Scale(0.25, "dataset"))
    assert other.path == tmp_path / "b c.png"
    assert [file.path.name for file in list_cohort(tmp_path / "sub" / ".." / "list.csv")] == ["a.png", "b c.png"]
    assert "um_per_px of line 3" in str(other.problem)


def test_a_file_that_is_no_table_of_scores_is_not_replaced(images: Path, tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "notes.parquet"
    out.write_bytes(b"something else")
    done = score(images, out, checkpoint)
    assert (done.exit_code, "is not a table of scores" in done.stderr) == (2, True), done.output
    assert out.read_bytes() == b"something else"


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is optional: pip install -r requirements-ray.txt")
def test_ray_gives_one_row_per_image_though_an_actor_is_killed(images: Path, tmp_path: Path, checkpoint: Path) -> None:
    files, results = list_cohort(images), CohortResults(tmp_path / "ray.parquet", MODEL)
    killed = 0
    with results.alone():
        for _ in results.store(
            score_on_ray(files, checkpoint, WantedComputing("cpu", "card", tmp_path), MODEL, "local", 2)
        ):
            actors = [one for one in psutil.Process().children(recursive=True) if "MapWorker" in one.name()]
            at_work = [one for one in actors if "__init__" not in one.name()]  # the other may still load its network
            if not killed and len(actors) == 2 and at_work:
                at_work[0].kill()
                killed = at_work[0].pid
        table = results.finish(files)
    assert killed
    assert paths(table) == [file.name for file in files]
