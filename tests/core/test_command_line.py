"""`python -m core predict`: in this process, and in one of its own where the encoding of its streams matters."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pytest
import tifffile
from typer.testing import CliRunner, Result

from core.__main__ import app
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import decode_heatmap
from core.network.checkpoint import save_checkpoint
from core.results import OUT_OF_SCOPE
from tests.helpers.images.odd_tiffs import pages_tiff
from tests.helpers.networks import SMALL_CARD, small_checkpoint, small_network
from tests.helpers.scopes import small_scope


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("case")
    small_checkpoint(folder / "small.safetensors")
    (folder / "images" / "left").mkdir(parents=True)
    for name, malignancy in (("a.png", "benign"), ("left/b.png", "malignant")):
        image = generate_tissue(1, malignancy, 230, 300)  # type: ignore[arg-type]
        cv2.imwrite(str(folder / "images" / name), image[:, :, ::-1])
    (folder / "images" / "notes.txt").write_text("not an image")
    return folder


def _predict(case: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["predict", "--checkpoint", str(case / "small.safetensors"), *arguments])


def _predict_in_a_process(case: Path, *arguments: str | bytes, encoding: str) -> subprocess.CompletedProcess[str]:
    """Run the command with standard streams of an encoding, as another terminal would."""
    command = [sys.executable, "-m", "core", "predict", "--checkpoint", str(case / "small.safetensors"), *arguments]
    environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_folder_gives_one_object_per_image_and_a_summary_beside(case: Path, tmp_path: Path) -> None:
    done = _predict(case, "--json", "--heatmap", str(tmp_path), str(case / "images"))
    assert done.exit_code == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(record["file"]).name for record in records] == ["a.png", "b.png"]
    for record in records:
        assert set(record) == {
            "file", "label", "malignant_probability", "probabilities", "quality", "notes", "patches", "model_version",
            "seconds", "heatmap", "overlay", "um_per_px", "um_per_px_source", "scope", "scope_score",
        }  # fmt: skip
        assert Path(record["heatmap"]).is_file()
        assert Path(record["overlay"]).is_file()
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert record["patches"]["benign"] + record["patches"]["malignant"] == 4
    assert "taken as one case" in done.stderr
    assert "not an image, ignored: notes.txt" in done.stderr
    assert decode_heatmap((tmp_path / "left" / "b.heatmap.tiff").read_bytes()).shape == (230, 300)
    shown = cv2.imread(str(tmp_path / "a.overlay.png"))
    assert shown is not None
    assert shown.shape == (230, 300, 3)


def test_one_bad_file_fails_the_command_and_not_the_others(case: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes((case / "images" / "a.png").read_bytes()[:500])
    done = _predict(case, "--json", str(bad), str(case / "images" / "a.png"))
    assert done.exit_code == 1
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert set(first) == {"file", "error"}
    assert second["label"] in ("benign", "malignant")


def test_an_unusable_checkpoint_is_said_in_one_line(case: Path, tmp_path: Path) -> None:
    trap = tmp_path / "bad.safetensors"
    trap.write_bytes(np.zeros(100, dtype=np.uint8).tobytes())
    done = _predict(case, "--checkpoint", str(trap), str(case / "images"))
    assert done.exit_code == 2
    assert "not a safetensors file" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_folder_holds_is_analysed_by_content_and_what_is_not_is_named(case: Path, tmp_path: Path) -> None:
    image = (case / "images" / "a.png").read_bytes()
    for name in ("no ending", "a.jfif", "b.PNG"):
        (tmp_path / name).write_bytes(image)
    (tmp_path / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "[bold]notes.txt").write_text("not an image")
    done = _predict(case, str(tmp_path))
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert sum("malignant probability" in line and "of 4 patches" in line for line in lines) == 3
    assert "3 images malignant, 2 without a result" in done.stdout
    assert "  without a result: phone.HEIC: this is a HEIC or AVIF picture, which is not supported." in done.stdout
    assert "  without a result: gone.png: a link to a file that is not there." in lines
    assert "  not an image, ignored: [bold]notes.txt" in lines


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_is_not_utf_8_is_readable_and_stops_nothing(case: Path, tmp_path: Path, encoding: str) -> None:
    image = (case / "images" / "a.png").read_bytes()
    folder = os.fsencode(tmp_path)
    for name in (b"1 M\xe4rz.png", "2 März.png".encode(), b"3.png"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(image)
    for output in ([], ["--json"]):
        done = _predict_in_a_process(case, folder, *output, "--heatmap", str(tmp_path / "maps"), encoding=encoding)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout.count("benign") + done.stdout.count("malignant") >= 3
        assert r"1 M\xe4rz.png" in done.stdout.replace("\\\\", "\\")
    files = [json.loads(line)["file"] for line in done.stdout.splitlines()]
    assert [Path(file).name for file in files] == [r"1 M\xe4rz.png", "2 März.png", "3.png"]


def test_images_of_one_name_keep_maps_of_their_own(case: Path, tmp_path: Path) -> None:
    for folder, seed in (("A", 1), ("B", 2)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), generate_tissue(seed, "benign", 230, 300)[:, :, ::-1])
    folders = [str(tmp_path / "A"), str(tmp_path / "B")]
    done = _predict(case, *folders, "--json", "--heatmap", str(tmp_path / "maps"))
    assert done.exit_code == 0, done.stderr
    maps = [Path(json.loads(line)["heatmap"]) for line in done.stdout.splitlines()]
    assert len(set(maps)) == 2
    assert maps[0].read_bytes() != maps[1].read_bytes()
    refused = _predict(case, str(tmp_path / "A" / "1.png"), str(tmp_path / "maps" / "A" / "1.overlay.png"),
                       "--heatmap", str(tmp_path / "maps" / "A"))  # fmt: skip
    assert refused.exit_code == 2
    assert "is one of the images" in refused.stderr


def test_what_was_noticed_on_reading_a_file_is_told_with_its_result(case: Path, tmp_path: Path) -> None:
    tissue = [generate_tissue(seed, "benign", 230, 300) for seed in (1, 2)]
    (tmp_path / "pages.tif").write_bytes(pages_tiff([(picture, {}) for picture in tissue]))
    as_json, as_text = _predict(case, "--json", str(tmp_path)), _predict(case, str(tmp_path))
    assert json.loads(as_json.stdout)["notes"] == ["only the first of 2 pages is used"]
    assert "; note: only the first of 2 pages is used" in as_text.stdout


def test_a_scale_is_typed_for_all_images_or_taken_from_each_file(case: Path, tmp_path: Path) -> None:
    pixels = generate_tissue(2, "benign", 230, 300)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", resolution=(4e4, 4e4), resolutionunit="CENTIMETER")
    cv2.imwrite(str(tmp_path / "b.png"), pixels)
    command = ["predict", "--checkpoint", str(case / "small.safetensors"), "--json", str(tmp_path)]
    found = {}
    for typed in ([], ["--um-per-px", "0.5"]):
        done = CliRunner().invoke(app, [*command, *typed])
        assert done.exit_code == 0, done.output
        records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found[bool(typed)] = [(record["um_per_px"], record["um_per_px_source"]) for record in records]
    assert found == {False: [(0.25, "tiff"), (None, None)], True: [(0.5, "typed"), (0.5, "typed")]}


@pytest.mark.parametrize("typed", ["0", "-0.2", "nan", "300"])
def test_a_typed_scale_that_is_none_is_refused_before_a_checkpoint_is_loaded(case: Path, typed: str) -> None:
    done = CliRunner().invoke(app, ["predict", str(case / "images"), "--checkpoint", "absent", "--um-per-px", typed])
    assert done.exit_code == 2
    assert "is not a plausible scale for a microscope image" in " ".join(done.output.replace("│", " ").split())


def test_an_image_out_of_scope_is_answered_without_a_label(tmp_path: Path) -> None:
    reference, about = small_scope()
    card = replace(SMALL_CARD, scope=about)
    save_checkpoint(tmp_path / "small.safetensors", small_network(card), card, reference)
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "images" / "noise.png"), noise)
    done = _predict(tmp_path, "--json", "--heatmap", str(tmp_path / "maps"), str(tmp_path / "images"))
    assert done.exit_code == 0, done.stderr
    (record,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert record["scope"] == "out"
    assert record["scope_score"] > about.limit_out
    assert record["scope_reasons"]
    assert (record["label"], record["malignant_probability"], record["probabilities"]) == (None, None, None)
    assert record["reason"].startswith(OUT_OF_SCOPE)
    assert "error" not in record
    assert "heatmap" not in record
    assert decode_heatmap(Path(record["scope_map"]).read_bytes()).shape == (240, 240)
    assert Path(record["scope_overlay"]).is_file()
    text = _predict(tmp_path, str(tmp_path / "images")).stdout
    assert f"noise.png: {OUT_OF_SCOPE}" in text
    assert "malignant probability" not in text


def test_a_folder_is_summed_up_and_written_as_a_table(case: Path, tmp_path: Path) -> None:
    shutil.copytree(case / "images", tmp_path / "images")
    (tmp_path / "images" / "=bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    table, workbook = tmp_path / "results" / "table.csv", tmp_path / "results" / "table.xlsx"
    command = ["predict", "--checkpoint", str(case / "small.safetensors"), "--csv", str(table), "--xlsx", str(workbook)]
    done = CliRunner().invoke(app, [*command, "--mode", "folder", "--folder", str(tmp_path / "images")])
    assert done.exit_code == 1, done.output  # one of them is no image
    rows = {Path(row["file"]).name: row for row in csv.DictReader(table.read_text("utf-8-sig").splitlines())}
    assert set(rows) == {"a.png", "b.png", "=bad.png"}
    assert rows["=bad.png"]["reason"]
    assert rows["=bad.png"]["label"] == ""
    results, meanings = openpyxl.load_workbook(workbook).worksheets
    header, *cells = results.values
    for line, row in zip(cells, rows.values(), strict=True):
        assert header == tuple(row)
        assert all(_is_same(cell, text) for cell, text in zip(line, row.values(), strict=True)), (line, row)
    assert [row[0] for row in meanings.values] == ["column", *header]
    answered = [rows["a.png"], rows["b.png"]]
    mean = sum(float(row["malignant_probability"]) for row in answered) / 2
    label = "malignant" if mean >= float(answered[0]["threshold"]) else "benign"
    confidence = mean if label == "malignant" else 1 - mean
    images = [sum(row["label"] == side for row in answered) for side in ("benign", "malignant")]
    patches = [sum(int(row[f"{side}_patches"]) for row in answered) for side in ("benign", "malignant")]
    lines = done.stdout.splitlines()
    assert f"  prediction: {label}, confidence {confidence:.3f}" in lines
    assert f"  images: {images[0]} benign, {images[1]} malignant" in lines
    assert f"  patches: {patches[0]} benign, {patches[1]} malignant" in lines
    assert sum(patches) == 8
    assert "diagnosis" not in done.stdout


def _is_same(cell: object, text: str) -> bool:
    """Return whether a cell of a workbook holds what a CSV file says, numbers as numbers and all else as text."""
    return cell == (float(text) if isinstance(cell, int | float) else text or None)


def test_the_modes_take_an_image_or_a_folder(case: Path) -> None:
    image, folder = str(case / "images" / "a.png"), str(case / "images")
    command = ["predict", "--checkpoint", str(case / "small.safetensors")]
    done = CliRunner().invoke(app, [*command, "--mode", "single", "--image", image])
    assert done.exit_code == 0, done.output
    assert "of 4 patches" in done.stdout
    wrong: tuple[list[str], ...] = (
        [],
        ["--mode", "single"],
        ["--mode", "single", "--folder", folder],
        ["--mode", "folder", "--image", image],
    )
    for words in wrong:
        assert CliRunner().invoke(app, [*command, *words]).exit_code == 2, words


def test_a_table_never_replaces_an_image(case: Path) -> None:
    image = case / "images" / "a.png"
    before = image.read_bytes()
    for option in ("--csv", "--xlsx"):
        done = CliRunner().invoke(app, ["predict", str(image), option, str(image), "--checkpoint", "absent"])
        assert done.exit_code == 2
        assert "is one of the images" in done.stderr
        assert image.read_bytes() == before
