import json
from pathlib import Path

import pandas as pd
import pytest
import timm
import torch
import typer
from safetensors.torch import save_file

from core.calibration import youden_threshold
from core.card import checkpoint_sha256, read_card
from core.checkpoint import load_classifier
from core.datasets import load_dataset
from core.fit_config import FitConfig
from core.metrics import Judged, auc
from core.nets.branches import MissingWeightsError
from core.pipeline import analyse
from db import store
from db.evaluation_values import RunState
from db.session import open_database
from tests.small_runs import SPLIT, TINY, Place
from tests.tissue import tissue_folder
from training import baseline, train
from training.parts import first_network

pytestmark = pytest.mark.slow  # whole runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Images and the one run that was made of them, over two folds and with two members."""
    place = Place(tmp_path_factory.mktemp("trained"))
    tissue_folder(place.tissue)
    place.train()
    return place


@pytest.fixture
def tissue(tmp_path: Path) -> Place:
    """Images of six patients, and no run yet."""
    place = Place(tmp_path)
    tissue_folder(place.tissue, patients=6)
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
    judged = Judged.of(truth, table.p_malignant.tolist(), table.patient_id.tolist())
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
        (row,) = store.runs(session)
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


@pytest.mark.slow
def test_the_same_run_twice_gives_the_same_file(tissue: Place) -> None:
    first, second = tissue.train(name="first.safetensors"), tissue.train(name="second.safetensors")
    assert first.read_bytes() == second.read_bytes()


def test_a_split_learns_from_train_decides_on_validation_and_leaves_test_alone(tissue: Place) -> None:
    card = read_card(tissue.train(*SPLIT))
    folder = tissue.only_run()
    split = pd.read_csv(folder.split, dtype=str)
    sides = {side: set(rows.patient_id) for side, rows in split.groupby("split_or_fold")}
    assert sides.keys() == {"train", "validation", "test"}
    assert set(card.training_data.patient_ids) == sides["train"]
    judged = pd.read_parquet(folder.path / "predictions.parquet")
    assert set(judged.patient_id) == sides["validation"]
    assert set(judged.split) == {"validation"}
    assert "validation" in card.locked_on
    assert not (folder.path / "folds").exists()


def test_figures_say_when_the_judges_chose_the_epoch(tissue: Place) -> None:
    card = read_card(tissue.train(*SPLIT, "keep=best"))
    assert "the same patients had a say in the training" in card.metrics[0].protocol


def test_official_folds_are_read_from_their_lists_and_judged_pooled(tissue: Place) -> None:
    images = load_dataset("breakhis", tissue.tissue)
    held_out = {"fold 1": {"1", "2"}, "fold 2": {"3", "4"}, "fold 3": {"1", "4"}}
    for fold, patients in enumerate(held_out.values(), start=1):
        lines = [f"{i.path.name}|100|{fold}|{'test' if i.patient_id in patients else 'train'}" for i in images]
        (tissue.path / f"dsfold{fold}.txt").write_text("\n".join(lines))
    train.run(
        tissue.config,
        data=tissue.tissue,
        runs=tissue.runs,
        lists=tissue.path,
        assignments=["protocol.kind=official", *SPLIT[1:]],
        limit=1,
        threads=1,
        database=tissue.database,
    )
    folder = tissue.only_run()
    judged = pd.read_parquet(folder.path / "predictions.parquet")
    assert len(judged) == 6
    assert {str(name): set(rows.patient_id) for name, rows in judged.groupby("split")} == held_out
    split = pd.read_csv(folder.split, dtype=str)
    assert set(split[split.patient_id == "5"].split_or_fold) == {"train"}
    assert "official" in read_card(folder.checkpoint).locked_on


def test_official_folds_without_their_lists_are_refused(tissue: Place) -> None:
    with pytest.raises(typer.BadParameter, match="--lists"):
        tissue.train("protocol.kind=official")


def test_a_limit_takes_so_many_images_of_every_patient(tissue: Place) -> None:
    tissue.train(*SPLIT, limit=1)
    split = pd.read_csv(tissue.only_run().split, dtype=str)
    assert split.patient_id.tolist().count("1") == 1
    assert len(split) == 6


def test_a_resumed_run_refuses_images_that_are_not_those_it_began_with(tissue: Place) -> None:
    tissue.train(*SPLIT)
    next(tissue.tissue.glob("*.png")).unlink()
    with pytest.raises(typer.BadParameter, match="the same files"):
        train.run(resume=tissue.only_run().path, database=tissue.database)


def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="not the folder of a run"):
        train.run(resume=tmp_path)


def test_a_resumed_run_takes_no_other_config(trained: Place) -> None:
    with pytest.raises(typer.BadParameter, match="leave them out"):
        train.run(trained.config, resume=trained.only_run().path)


def test_a_run_can_leave_out_the_demonstration_and_write_for_tensorboard(tissue: Place) -> None:
    train.run(
        tissue.config,
        data=tissue.tissue,
        runs=tissue.runs,
        assignments=list(SPLIT),
        threads=1,
        database=tissue.database,
        tensorboard=True,
        demonstration=False,
    )
    folder = tissue.only_run()
    card = read_card(folder.checkpoint)
    assert not card.demonstration
    assert card.note == "Research use only: no decision about a patient may rest on it."
    assert list((folder.path / "tensorboard").glob("events*"))


def test_a_run_can_start_from_a_file_of_pretrained_weights(tmp_path: Path) -> None:
    torch.manual_seed(7)
    donor = timm.create_model("test_efficientnet")
    save_file(donor.state_dict(), tmp_path / "donor.safetensors")
    network = first_network(
        FitConfig.from_toml(Place(tmp_path).config), {"test_efficientnet": tmp_path / "donor.safetensors"}
    )
    taken = network.branches[0].net.state_dict()  # type: ignore[union-attr]
    torch.testing.assert_close(taken["conv_stem.weight"], donor.state_dict()["conv_stem.weight"])


def test_weights_without_a_name_are_refused(tissue: Place) -> None:
    with pytest.raises(typer.BadParameter, match="NAME=FILE"):
        train.run(tissue.config, data=tissue.tissue, runs=tissue.runs, weights=["donor.safetensors"])


def test_unlabelled_images_of_another_laboratory_take_part(tissue: Place, tmp_path: Path) -> None:
    tissue_folder(tmp_path / "elsewhere", patients=2)
    train.run(
        tissue.config,
        data=tissue.tissue,
        runs=tissue.runs,
        target=tmp_path / "elsewhere",
        assignments=[*SPLIT, "adversarial.weight=0.5"],
        threads=1,
        database=tissue.database,
    )
    assert read_card(tissue.only_run().checkpoint).config["adversarial.weight"] == 0.5


def test_the_adversarial_option_without_its_images_is_refused_before_anything_is_made(tissue: Place) -> None:
    with pytest.raises(typer.BadParameter, match="--target"):
        tissue.train(*SPLIT, "adversarial.weight=0.5")
    assert not tissue.runs.exists()


def test_without_weights_a_run_says_how_to_pass_them_and_takes_them_when_resumed(tissue: Place) -> None:
    donor = tissue.path / "donor.safetensors"
    assignments = [*SPLIT, "pretrained=true", 'branches=["test_efficientnet"]']
    with pytest.raises(MissingWeightsError, match="there is no file"):
        train.run(
            tissue.config,
            data=tissue.tissue,
            runs=tissue.runs,
            assignments=assignments,
            database=tissue.database,
            weights=[f"test_efficientnet={donor}"],
        )
    save_file(timm.create_model("test_efficientnet").state_dict(), donor)
    train.run(resume=tissue.only_run().path, database=tissue.database)
    assert read_card(tissue.only_run().checkpoint).config["pretrained"] is True


def test_the_baseline_tells_crowded_from_pale(trained: Place) -> None:
    judged, magnifications = baseline.judge_out_of_fold(load_dataset("breakhis", trained.tissue), folds=2, seed=0)
    assert auc(judged.malignant, judged.probabilities) == 1
    assert set(magnifications) == {"100X"}
