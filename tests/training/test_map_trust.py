"""`python -m training.map_trust` from a checkpoint and images to the file that the Models page shows."""

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from core.card import Card, InputPolicy, checkpoint_sha256, model_version
from core.network.checkpoint import load_classifier, save_checkpoint
from core.network.classifier import Classifier
from core.settings import Settings
from core.statistics.compare_maps import STEPS
from core.statistics.map_trust import MapTrust
from db.values.evaluations import MAP_TRUST_FILE, shipped_folder
from service.shipped_evaluations import read_map_trust
from tests.helpers.networks import small_network
from tests.helpers.runs.checkpoints import TINY_CARD, tissue_and_checkpoint
from tests.helpers.scopes import FixedScope
from training import map_trust
from training.map_trust import MapTrustRequest, measure_map_trust, write_map_trust

ONE_BRANCH = replace(TINY_CARD, branches=("cnn3",), views="one")
PATIENTS, EACH = 4, 2  # as `tissue_and_checkpoint` makes them


@pytest.fixture(autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("SECOND_READ_DATA", str(folder))
    return folder


def made(folder: Path, card: Card = ONE_BRANCH) -> MapTrustRequest:
    return MapTrustRequest(tissue_and_checkpoint(folder, card), "breakhis", (folder / "tissue",))


def run(checkpoint: Path, *words: str) -> Result:
    return CliRunner().invoke(map_trust.app, [str(checkpoint), *words])


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> MapTrust:
    """What is measured on a tiny network of two branches."""
    request = made(tmp_path_factory.mktemp("hybrid"), replace(TINY_CARD, views="one"))
    return measure_map_trust(replace(request, most=1))


def test_the_measurement_says_on_which_images_and_of_which_version_it_is(hybrid: MapTrust) -> None:
    assert (hybrid.model_name, hybrid.dataset) == ("tiny", "BreaKHis")
    assert (hybrid.images, hybrid.patients, hybrid.trained_on) == (PATIENTS, PATIENTS, 1)
    assert any("only 4 patients" in caution.words for caution in hybrid.warnings)


def test_curves_run_from_the_image_to_its_blurred_copy_and_back(hybrid: MapTrust) -> None:
    deletion, insertion = hybrid.deletion, hybrid.insertion
    assert len(deletion.by_map) == STEPS + 1
    for whole, gone in ((0, -1), (-1, 0)):
        test = deletion if whole == 0 else insertion
        assert test.by_map[whole] == test.by_random[whole] == deletion.by_map[0]
        assert test.by_map[gone] == test.by_random[gone] == deletion.by_map[-1]
    assert insertion.by_random == deletion.by_random[::-1]
    for test in (deletion, insertion):
        inner = np.mean(test.by_map[1:-1]) * (STEPS - 1) / STEPS + (test.by_map[0] + test.by_map[-1]) / 2 / STEPS
        assert test.area_of_map.value == pytest.approx(inner)
    assert deletion.advantage.value == pytest.approx(deletion.area_of_random.value - deletion.area_of_map.value)
    assert insertion.advantage.value == pytest.approx(insertion.area_of_map.value - insertion.area_of_random.value)


def test_two_branches_are_compared_and_one_is_not_compared(hybrid: MapTrust, tmp_path: Path) -> None:
    (pair,) = hybrid.branches
    assert (pair.first, pair.second) == TINY_CARD.branches
    assert -1 < pair.correlation.value < 1
    assert pair.correlation.value != 0
    request = replace(made(tmp_path), most=1)
    alone = measure_map_trust(request)
    assert alone.branches == ()
    assert measure_map_trust(request) == alone, "the same figures on the same images"
    assert 0 < alone.redrawn.head.value < 1
    assert alone.redrawn.all_weights.value != alone.redrawn.head.value


def test_regions_count_for_the_label_that_the_network_gives_whichever_it_is(tmp_path: Path) -> None:
    """What is put back first for malignant is replaced last for benign: the curves of one are those of the other."""
    areas = []
    for name, threshold in (("malignant", 0.001), ("benign", 0.999)):
        found = measure_map_trust(replace(made(tmp_path / name, replace(ONE_BRANCH, threshold=threshold)), most=1))
        areas.append((found.deletion.area_of_map.value, found.insertion.area_of_map.value))
    (deletion, insertion), (other_deletion, other_insertion) = areas
    nearly = abs(insertion - deletion) / 20  # the order of pixels that are alike is free
    assert nearly > 0
    assert other_deletion == pytest.approx(1 - insertion, abs=nearly)
    assert other_insertion == pytest.approx(1 - deletion, abs=nearly)


def test_the_file_lies_beside_a_checkpoint_that_has_a_folder_of_evaluations(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path, ONE_BRANCH)
    shipped_folder(checkpoint).mkdir()
    done = run(checkpoint, "--data", str(tmp_path / "tissue"), "--images", "1")
    assert done.exit_code == 0, done.output
    written = shipped_folder(checkpoint) / MAP_TRUST_FILE
    found = MapTrust.from_json(written.read_text())
    assert found.model_version == model_version(checkpoint_sha256(checkpoint))
    for words in ("deletion: advantage of the map", "one branch", f"{found.insertion.advantage.value:.3f}"):
        assert words in done.output
    assert "also shown on the Models page" in done.output


def test_the_file_of_another_checkpoint_lies_in_the_data_folder_and_names_no_image(
    tmp_path: Path, data_folder: Path
) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path, ONE_BRANCH)
    for second in (tmp_path / "tissue").glob("*-002.png"):
        second.unlink()
    (tmp_path / "tissue" / "SOB_B_F-14-3-100-077.png").write_bytes(b"\x89PNG\r\n\x1a\nthe rest is lost")
    done = run(checkpoint, "--data", str(tmp_path / "tissue"), "--json")
    assert done.exit_code == 1, "an image was left out"
    version = model_version(checkpoint_sha256(checkpoint))
    (written,) = data_folder.rglob(MAP_TRUST_FILE)
    assert written == data_folder / "evaluations" / version / MAP_TRUST_FILE
    assert written.read_text() == done.stdout
    assert not shipped_folder(checkpoint).exists()
    found = MapTrust.from_json(written.read_text())
    assert found.images == PATIENTS
    assert any("1 of 5 images of BreaKHis were left out" in caution.words for caution in found.warnings)
    assert "100-077" not in done.stdout


def test_a_folder_beside_the_checkpoint_that_may_not_be_written_is_left_alone(
    tmp_path: Path, hybrid: MapTrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "installed.safetensors"
    shipped_folder(checkpoint).mkdir()
    shipped_folder(checkpoint).chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setattr("os.access", lambda *_: False)  # tests may run as root, who may write anywhere
    written = write_map_trust(checkpoint, hybrid, Settings.from_environment().evaluations)
    assert written.is_relative_to(Settings.from_environment().evaluations)
    assert list(shipped_folder(checkpoint).iterdir()) == []


def test_a_new_measurement_is_not_hidden_by_an_older_one_in_the_data_folder(tmp_path: Path, hybrid: MapTrust) -> None:
    checkpoint, evaluations = tmp_path / "measured.safetensors", Settings.from_environment().evaluations
    older = write_map_trust(checkpoint, hybrid, evaluations)
    shipped_folder(checkpoint).mkdir()
    newer = replace(hybrid, model_name="measured again")
    write_map_trust(checkpoint, newer, evaluations)
    assert read_map_trust(checkpoint, hybrid.model_version, evaluations).trust == newer
    older.unlink()
    write_map_trust(checkpoint, newer, evaluations)
    assert [path.name for path in shipped_folder(checkpoint).iterdir()] == [MAP_TRUST_FILE]


def test_what_was_measured_is_printed_even_if_it_cannot_be_written(tmp_path: Path, data_folder: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path, ONE_BRANCH)
    (data_folder / "evaluations").write_text("no folder")
    done = run(checkpoint, "--data", str(tmp_path / "tissue"), "--images", "1", "--json")
    assert done.exit_code == 2
    assert MapTrust.from_json(done.stdout).images == PATIENTS
    assert "evaluations" in done.stderr.splitlines()[-1]


def test_images_out_of_scope_are_left_out_because_readers_see_no_map_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = FixedScope(0.5, 2.5, 0.5)

    def load(path: Path, device: str) -> Classifier:
        return load_classifier(path, device).with_scope(scope)  # type: ignore[arg-type]

    monkeypatch.setattr("training.map_trust.load_classifier", load)
    found = measure_map_trust(replace(made(tmp_path), most=1))
    left_out = next(caution for caution in found.warnings if caution.kind == "out of scope")
    assert found.images == 3
    assert left_out.words == "1 of 4 images of BreaKHis are out of scope: readers see no heat map of them"


def test_a_map_that_marks_nothing_is_not_measured(tmp_path: Path) -> None:
    request = made(tmp_path)
    network = small_network(ONE_BRANCH)
    torch.nn.init.zeros_(network.head.weight)  # type: ignore[arg-type]
    save_checkpoint(request.checkpoint, network, ONE_BRANCH)
    with pytest.raises(
        ValueError, match="none of the 8 images of BreaKHis can be used: its heat map is the same every"
    ):
        measure_map_trust(request)


def test_what_cannot_be_measured_is_refused_with_the_reason(tmp_path: Path, data_folder: Path) -> None:
    policy = InputPolicy("patches", input_side=32, patch_side=400, stride=400)
    checkpoint = tissue_and_checkpoint(tmp_path, replace(ONE_BRANCH, input_policy=policy))
    for words, reason in (
        (
            ("--data", str(tmp_path / "tissue")),
            "none of the 8 images of BreaKHis can be used: a 56 x 48 image is small",
        ),
        (("--data", str(tmp_path / "nowhere")), "there is no folder"),
        (("--data", str(tmp_path / "tissue"), "--images", "0"), "greater than or equal to 1"),
        ((), "Missing option '--data'"),
    ):
        done = run(checkpoint, *words)
        assert done.exit_code == 2
        assert reason in " ".join(done.output.split())
    assert not list(data_folder.rglob(MAP_TRUST_FILE))
