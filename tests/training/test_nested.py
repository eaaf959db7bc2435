import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from core.data.datasets import LabelledImage
from tests.helpers.images.tissue import tissue_folder
from training import nested
from training.nested import Patients, Recipe

NET = "test_efficientnet"
TINY = """
name = "{name}"
branches = ["test_efficientnet"]
head = "additive"
mean = [0.8, 0.65, 0.76]
std = [0.13, 0.17, 0.12]
batch_size = 4
[input_policy]
kind = "resize"
input_side = 32
[sampling]
kind = "patients"
batches = 1
[[phases]]
name = "all"
epochs = 1
unfrozen = "all"
learning_rate = {rate}
"""


def made(count: int, folds: int) -> Patients:
    """Images of as many patients, benign and malignant in turn, dealt to folds."""
    labels = ("adenosis", "ductal_carcinoma")
    images = [LabelledImage(Path(f"{i}.png"), labels[i % 2], str(i), "100X", "breakhis") for i in range(count)]
    return Patients(tuple(images), np.array([i // 2 % folds for i in range(count)]))


def test_a_fold_and_what_is_left_share_no_patient_and_miss_none(tmp_path: Path) -> None:
    patients = nested.assign_folds(tissue_folder(tmp_path, patients=8), 3, 0)
    for fold in range(3):
        inside = {image.patient_id for image in patients.held_out(fold)}
        outside = {image.patient_id for image in patients.without(fold)}
        assert not inside & outside
        assert len(patients.held_out(fold)) + len(patients.without(fold)) == len(patients.images)


def test_the_choice_for_a_fold_does_not_look_at_what_is_said_of_it() -> None:
    """The second recipe is perfect on fold 0 alone, and useless elsewhere: fold 0 must not get it chosen."""
    patients = made(12, 3)
    truth = np.array([image.malignancy == "malignant" for image in patients.images], float)
    useless = np.tile([0.5, 0.4], 6)  # ranks every benign image first
    good = np.where(truth > 0, 0.9, 0.1)
    lucky = np.where(patients.fold == 0, truth, useless)

    def recipe(name: str, outer: np.ndarray) -> Recipe:
        inner = tuple(np.where(patients.fold == fold, np.nan, outer) for fold in range(3))
        return Recipe(name, outer, inner)

    choices, said = nested.choose([recipe("lucky", lucky), recipe("good", good)], patients)
    assert choices == [1, 1, 1]
    np.testing.assert_array_equal(said, good)


def test_a_recipe_is_scored_by_images_at_100x_and_by_patients() -> None:
    patients = made(8, 2)
    said = np.where([image.malignancy == "malignant" for image in patients.images], 0.8, 0.2)
    assert nested.score(patients, said) == 1
    assert nested.score(patients, 1 - said) == 0
    said[0] = np.nan  # without a prediction
    assert nested.score(patients, said) == 1


@pytest.mark.slow
def test_recipes_are_tried_once_chosen_and_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tissue_folder(tmp_path / "tissue", patients=6, each=1)
    for name, rate in (("slow", "1e-5"), ("fast", "3e-3")):
        (tmp_path / f"{name}.toml").write_text(TINY.format(name=name, rate=rate))
    configs = [tmp_path / "slow.toml", tmp_path / "fast.toml"]
    nested.run(configs, [tmp_path / "tissue"], tmp_path / "out", folds=3, threads=1)
    rows = json.loads((tmp_path / "out" / "nested.json").read_text())
    assert [row["name"] for row in rows] == ["slow", "fast", "chosen without the fold it is judged on"]
    assert sum(row["chosen"] or 0 for row in rows) == 3
    assert "AUC by accession" in capsys.readouterr().out
    weights = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("weights.safetensors")}
    assert len(weights) == 2 * (1 + 3 + 3)  # start, without each fold, without each pair
    nested.run(configs, [tmp_path / "tissue"], tmp_path / "out", folds=3, threads=1)
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


def test_a_changed_recipe_is_not_taken_for_the_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TINY.format(name="a", rate="1e-3"))
    first = nested.folder_of(tmp_path / "a.toml", tmp_path, "5 0")
    assert nested.folder_of(tmp_path / "a.toml", tmp_path, "5 0") == first
    assert nested.folder_of(tmp_path / "a.toml", tmp_path, "5 1") != first
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"one")
    with_weights = nested.folder_of(tmp_path / "a.toml", tmp_path, "5 0", {"test_efficientnet": weights})
    assert with_weights != first
    assert nested.folder_of(tmp_path / "a.toml", tmp_path, "5 0", {"a branch of another recipe": weights}) == first
    weights.write_bytes(b"other")
    assert nested.folder_of(tmp_path / "a.toml", tmp_path, "5 0", {"test_efficientnet": weights}) != with_weights
    (tmp_path / "a.toml").write_text(TINY.format(name="a", rate="2e-3"))
    assert nested.folder_of(tmp_path / "a.toml", tmp_path, "5 0") != first


def test_a_recipe_starts_from_the_weights_that_are_passed(tmp_path: Path) -> None:
    tissue_folder(tmp_path / "tissue", patients=6, each=1)
    (tmp_path / "a.toml").write_text(TINY.format(name="a", rate="1e-9"))
    started = {
        name: torch.full_like(value, 0.01) for name, value in timm.create_model(NET, num_classes=0).state_dict().items()
    }
    save_file(started, tmp_path / "weights.safetensors")
    weights = [f"{NET}={tmp_path / 'weights.safetensors'}"]
    nested.run([tmp_path / "a.toml"], [tmp_path / "tissue"], tmp_path / "out", folds=3, threads=1, weights=weights)
    (start,) = (tmp_path / "out").rglob("start/weights.safetensors")
    used = load_file(start)
    assert torch.equal(used["branches.0.net.conv_stem.weight"], started["conv_stem.weight"])
