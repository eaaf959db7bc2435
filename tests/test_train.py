import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import typer
from safetensors.torch import save_file

from core.calibration import fit_temperature, youden_threshold
from core.card import read_card
from core.checkpoint import load_classifier
from core.datasets import breakhis
from core.fit_config import FitConfig
from core.metrics import Judged, auc, auc_estimate
from core.pipeline import analyse
from tests.tissue import tissue_folder
from training import baseline, train

TOML = """
name = "tiny"
branches = ["test_efficientnet", "test_vit"]
head = "additive"
mean = [0.8, 0.65, 0.76]
std = [0.13, 0.17, 0.12]
folds = 2
members = 2
epochs = 2
batches = 2
batch_size = 4
[input_policy]
kind = "patches"
input_side = 32
patch_side = 48
stride = 48
[generated]
images = 4
batches = 2
share = 0.25
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tissue/, runs/ and the checkpoint that a run made of them."""
    folder = tmp_path_factory.mktemp("trained")
    tissue_folder(folder / "tissue")
    (folder / "tiny.toml").write_text(TOML)
    train_into(folder, "first.safetensors")
    return folder


def train_into(folder: Path, name: str) -> None:
    train.run(folder / "tiny.toml", folder / "tissue", folder / name, folder / f"{name}.runs", threads=1)


def test_a_run_leaves_a_checkpoint_whose_card_tells_how_it_was_made(trained: Path) -> None:
    card = read_card(trained / "first.safetensors")
    assert card.demonstration
    assert "Research use only" in card.note
    assert card.training_data.patient_ids == ("1", "2", "3", "4")
    assert (card.training_data.images, card.training_data.patients) == (8, 4)
    assert "4 generated images" in card.training_data.note
    assert card.config["epochs"] == 2
    assert card.config["generated.share"] == 0.25
    assert card.config["augmentation.zoom"] == 1.4
    assert card.code_version
    assert [m.name for m in card.metrics] == ["AUC by image at 100X", "AUC by image", "AUC by accession number"]
    assert all(m.low <= m.value <= m.high and "patient-wise 2-fold" in m.protocol for m in card.metrics)


def test_the_checkpoint_of_a_run_analyses_an_image(trained: Path) -> None:
    classifier = load_classifier(trained / "first.safetensors")
    image = next(iter(breakhis(trained / "tissue")))
    prediction = analyse(image.path.read_bytes(), classifier).prediction
    assert prediction is not None
    assert prediction.threshold == classifier.card.threshold


def test_the_history_of_a_run_has_a_line_for_every_epoch_of_every_fold(trained: Path) -> None:
    (path,) = (trained / "first.safetensors.runs").glob("*/history.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["part"], line["number"]) for line in lines] == [
        ("generated tissue", 1),
        *(
            (f"{part}, member {member}", number)
            for part in ("fold 1 of 2", "fold 2 of 2", "all patients")
            for member in (1, 2)
            for number in (1, 2)
        ),
    ]
    assert lines[1]["validation_auc"] is not None
    assert lines[-1]["validation_auc"] is None


def test_the_same_run_twice_gives_the_same_file(trained: Path) -> None:
    train_into(trained, "second.safetensors")
    assert (trained / "second.safetensors").read_bytes() == (trained / "first.safetensors").read_bytes()


def test_an_auc_counts_pairs_and_ties_half() -> None:
    malignant = np.array([True, True, False, False])
    assert auc(malignant, np.array([0.9, 0.8, 0.2, 0.1])) == 1
    assert auc(malignant, np.array([0.9, 0.2, 0.2, 0.1])) == 0.875
    assert auc(malignant, np.array([0.1, 0.2, 0.8, 0.9])) == 0
    with pytest.raises(ValueError, match="both"):
        auc(np.array([True]), np.array([0.5]))


def test_an_interval_of_few_patients_is_wider_than_one_of_many() -> None:
    rng = np.random.default_rng(0)
    malignant = [bool(i % 2) for i in range(160)]
    probabilities = [float(np.clip(rng.normal(0.6 if m else 0.4, 0.2), 0, 1)) for m in malignant]
    many = auc_estimate(Judged.of(malignant, probabilities, [str(i) for i in range(160)]))
    few = auc_estimate(Judged.of(malignant, probabilities, [str(i % 8) for i in range(160)]))
    assert many.low < many.value < many.high
    assert many.value == few.value
    # The same images as eight alike patients: an interval there would be over eight, not 160, draws.
    alike = [0.2 + 0.1 * (i % 8) for i in range(160)]
    assert _width(Judged.of(malignant, alike, [str(i % 8) for i in range(160)])) > 1.5 * (many.high - many.low)


def _width(judged: Judged) -> float:
    estimate = auc_estimate(judged)
    return estimate.high - estimate.low


def test_a_patient_counts_as_the_mean_of_its_images() -> None:
    judged = Judged.of([True, True, False], [0.9, 0.5, 0.2], ["a", "a", "b"]).by_patient()
    assert judged.patient_ids.tolist() == ["a", "b"]
    assert judged.malignant.tolist() == [True, False]
    assert judged.probabilities.tolist() == pytest.approx([0.7, 0.2])


def test_a_temperature_undoes_overconfidence_and_leaves_honest_odds_alone() -> None:
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 1.5, 4000)
    malignant = rng.random(4000) < 1 / (1 + np.exp(-odds))
    names = [str(i) for i in range(4000)]
    honest = Judged.of(malignant.tolist(), (1 / (1 + np.exp(-odds))).tolist(), names)
    bold = Judged.of(malignant.tolist(), (1 / (1 + np.exp(-3 * odds))).tolist(), names)
    assert fit_temperature(honest) == pytest.approx(1, abs=0.15)
    assert fit_temperature(bold) == pytest.approx(3, abs=0.45)


def test_the_threshold_lies_where_sensitivity_and_specificity_are_best() -> None:
    judged = Judged.of([False, False, True, False, True, True], [0.1, 0.2, 0.35, 0.4, 0.7, 0.9], list("abcdef"))
    threshold = youden_threshold(judged)
    assert threshold in (pytest.approx(0.275), pytest.approx(0.55))
    assert youden_threshold(Judged.of([True, False], [0.4, 0.4], ["a", "b"])) == 0.5


def test_the_baseline_tells_crowded_from_pale(trained: Path) -> None:
    judged, magnifications = baseline.judge_out_of_fold(breakhis(trained / "tissue"), folds=2, seed=0)
    assert auc(judged.malignant, judged.probabilities) == 1
    assert set(magnifications) == {"100X"}


def test_a_run_can_start_from_a_file_of_pretrained_weights(tmp_path: Path) -> None:
    torch.manual_seed(7)
    donor = timm.create_model("test_efficientnet")
    save_file(donor.state_dict(), tmp_path / "donor.safetensors")
    (tmp_path / "tiny.toml").write_text(TOML[: TOML.index("[generated]")])
    config = FitConfig.from_toml(tmp_path / "tiny.toml")
    files = {"test_efficientnet": tmp_path / "donor.safetensors"}
    network = train.first_network(config, lambda part, epoch: None, files)
    taken = network.branches[0].net.state_dict()  # type: ignore[union-attr]
    torch.testing.assert_close(taken["conv_stem.weight"], donor.state_dict()["conv_stem.weight"])


def test_weights_without_a_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TOML)
    with pytest.raises(typer.BadParameter, match="NAME=FILE"):
        train.run(tmp_path / "tiny.toml", tmp_path, tmp_path / "x", tmp_path / "runs", weights=["donor.safetensors"])
