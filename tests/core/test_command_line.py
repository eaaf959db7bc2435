"""`python -m core predict`, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import decode_heatmap
from tests.helpers.networks import small_checkpoint


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


def _predict(case: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "core", "predict", "--checkpoint", str(case / "small.safetensors"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_folder_gives_one_object_per_image_and_a_summary_beside(case: Path, tmp_path: Path) -> None:
    done = _predict(case, "--json", "--heatmap", str(tmp_path), str(case / "images"))
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(record["file"]).name for record in records] == ["a.png", "b.png"]
    for record in records:
        assert set(record) == {
            "file", "label", "malignant_probability", "probabilities", "quality", "patches", "model_version", "seconds",
        }  # fmt: skip
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert record["patches"]["benign"] + record["patches"]["malignant"] == 4
    assert "read as one case" in done.stderr
    assert decode_heatmap((tmp_path / "left" / "b.heatmap.tiff").read_bytes()).shape == (230, 300)
    shown = cv2.imread(str(tmp_path / "a.overlay.png"))
    assert shown is not None
    assert shown.shape == (230, 300, 3)


@pytest.mark.slow
def test_one_bad_file_fails_the_command_and_not_the_others(case: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes((case / "images" / "a.png").read_bytes()[:500])
    done = _predict(case, "--json", str(bad), str(case / "images" / "a.png"))
    assert done.returncode == 1
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert set(first) == {"file", "error"}
    assert second["label"] in ("benign", "malignant")


@pytest.mark.slow
def test_an_unusable_checkpoint_is_said_in_one_line(case: Path, tmp_path: Path) -> None:
    trap = tmp_path / "bad.safetensors"
    trap.write_bytes(np.zeros(100, dtype=np.uint8).tobytes())
    done = _predict(case, "--checkpoint", str(trap), str(case / "images"))
    assert done.returncode == 2
    assert "not a safetensors file" in done.stderr
    assert "Traceback" not in done.stderr
