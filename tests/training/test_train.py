"""One training run, made once for all these tests: its checkpoint, card, folder, predictions and database row."""

import json

import pandas as pd
import pytest
import torch
import typer

from core.card import checkpoint_sha256, read_card
from core.data.datasets import load_dataset
from core.network.checkpoint import load_classifier
from core.pipeline import analyse
from core.statistics.calibration import youden_threshold
from core.statistics.predictions import BinaryPredictions, auc
from db import store
from db.database import open_database
from db.values.evaluations import RunState
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.runs.small_runs import TINY, Place
from training import baseline, train

pytestmark = pytest.mark.slow  # whole runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Images and the one run that was made of them, over two folds and with two members."""
    place = Place(tmp_path_factory.mktemp("trained"))
    tissue_folder(place.tissue)
    place.train()
    return place


def test_a_run_leaves_a_checkpoint_whose_card_tells_how_it_was_made(trained: Place) -> None:
    card = read_card(trained.path / "checkpoint.safetensors")
    assert card.demonstration
    assert "Research use only" in card.note
    assert card.training_data.patient_ids == ("1", "2", "3", "4")
    assert (card.training_data.images, card.training_data.patients) == (8, 4)
    assert "4 generated images" in card.training_data.note
    assert card.config["phases.0.epochs"] == 2
    assert card.config["generated.share"] == 0.25
    assert card.config["augmentation.zoom"] == 1.4
    assert card.code_version
    assert [m.name for m in card.metrics] == ["AUC by image at 100X", "AUC by image", "AUC by accession number"]
    assert all(m.low <= m.value <= m.high and "patient-wise 2-fold" in m.protocol for m in card.metrics)
    assert card.locked_on == "patient-wise 2-fold, pooled out of fold; 8 images of 4 patients"
    assert card.abstention is not None
    assert "out of fold, one patient left out at a time: 8 images of 4 patients" in card.abstention.protocol


def test_the_checkpoint_of_a_run_analyses_an_image(trained: Place) -> None:
    classifier = load_classifier(trained.path / "checkpoint.safetensors")
    image = load_dataset("breakhis", trained.tissue)[0]
    prediction = analyse(image.path.read_bytes(), classifier).prediction
    assert prediction is not None
    assert prediction.threshold == classifier.card.threshold


def test_a_run_folder_holds_what_a_reviewer_asks_for(trained: Place) -> None:
    folder = trained.only_run()
    assert {path.name for path in folder.path.iterdir()} == {
        "card.json",
        "checkpoint.safetensors",
        "config.toml",
        "curves.png",
        "environment.json",
        "folds",
        "history.jsonl",
        "log",
        "predictions.parquet",
        "split.csv",
    }
    assert folder.config.read_text() == TINY
    environment = json.loads((folder.path / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert environment["threads"] >= 1
    assert environment["commit"]
    assert (folder.path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert folder.checkpoint.read_bytes() == (trained.path / "checkpoint.safetensors").read_bytes()


def test_every_patient_is_in_one_fold_of_the_written_split(trained: Place) -> None:
    split = pd.read_csv(trained.only_run().split, dtype=str)
    assert list(split.columns) == ["file", "patient_id", "label", "split_or_fold"]
    assert len(split) == 8
    assert set(split.split_or_fold) == {"fold 1", "fold 2"}
    assert (split.groupby("patient_id").split_or_fold.nunique() == 1).all()


def test_predictions_are_those_of_the_network_that_did_not_see_the_patient(trained: Place) -> None:
    folder = trained.only_run()
    table = pd.read_parquet(folder.path / "predictions.parquet")
    assert list(table.columns) == [
        *("file", "patient_id", "magnification", "dataset", "label", "split"),
        *("p_benign", "p_malignant"),
    ]
    for number in (1, 2):
        judge = load_classifier(folder.fold(number))
        for row in table[table.split == f"fold {number}"].itertuples():
            prediction = analyse((trained.tissue / str(row.file)).read_bytes(), judge, heatmap=False).prediction
            assert prediction is not None
            assert prediction.malignant_probability == row.p_malignant


def test_threshold_is_fitted_to_the_written_predictions(trained: Place) -> None:
    folder = trained.only_run()
    table = pd.read_parquet(folder.path / "predictions.parquet")
    truth = [label == "ductal_carcinoma" for label in table.label]
    judged = BinaryPredictions.of(truth, table.p_malignant.tolist(), table.patient_id.tolist())
    assert read_card(folder.checkpoint).threshold == youden_threshold(judged, source="out of fold")


def test_the_history_of_a_run_has_a_line_for_every_epoch_of_every_fold(trained: Place) -> None:
    lines = [json.loads(line) for line in trained.only_run().history.read_text().splitlines()]
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


def test_a_run_is_a_row_of_the_database(trained: Place) -> None:
    sessions = open_database(trained.database)
    with sessions.read() as session:
        (row,) = store.models.runs(session)
    sessions.dispose()
    folder = trained.only_run()
    assert (row.name, row.folder, row.state) == ("tiny", str(folder.path), RunState.FINISHED)
    assert row.checkpoint_sha256 == checkpoint_sha256(folder.checkpoint)
    assert json.loads(row.config)["generated.share"] == 0.25
    assert [line["part"] for line in json.loads(row.history or "")] == [
        json.loads(line)["part"] for line in folder.history.read_text().splitlines()
    ]


def test_a_finished_run_that_is_resumed_stays_as_it_is(trained: Place) -> None:
    folder = trained.only_run()
    before = {path: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    (trained.path / "checkpoint.safetensors").unlink()
    train.run(resume=folder.path, database=trained.database)
    assert {path: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before
    assert (trained.path / "checkpoint.safetensors").read_bytes() == folder.checkpoint.read_bytes()


def test_a_resumed_run_takes_no_other_config(trained: Place) -> None:
    with pytest.raises(typer.BadParameter, match="leave out CONFIG, --data and --set"):
        train.run(trained.config, resume=trained.only_run().path)


def test_the_baseline_tells_crowded_from_pale(trained: Place) -> None:
    judged, magnifications = baseline.judge_out_of_fold(load_dataset("breakhis", trained.tissue), folds=2, seed=0)
    assert auc(judged.malignant, judged.probabilities) == 1
    assert set(magnifications) == {"100X"}
