"""What a training run can be told: protocol, limit, weights, images of another laboratory; and what is refused."""

from pathlib import Path

import pandas as pd
import pytest
import timm
import torch
import typer
from safetensors.torch import save_file

from core.card import read_card
from core.data.datasets import load_dataset
from core.fitting.config import FitConfig
from core.network.branches import MissingWeightsError
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.runs.small_runs import SPLIT, Place
from training import train
from training.runs.parts import build_first_network

pytestmark = pytest.mark.slow  # whole runs


@pytest.fixture
def tissue(tmp_path: Path) -> Place:
    """Images of six patients, and no run yet."""
    place = Place(tmp_path)
    tissue_folder(place.tissue, patients=6)
    return place


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
    assert "the same patients influenced the training" in card.metrics[0].protocol


def test_official_folds_are_read_from_their_lists_and_judged_pooled(tissue: Place) -> None:
    images = load_dataset("breakhis", tissue.tissue)
    held_out = {"fold 1": {"1", "2"}, "fold 2": {"3", "4"}, "fold 3": {"1", "4"}}
    for fold, patients in enumerate(held_out.values(), start=1):
        lines = [f"{i.path.name}|100|{fold}|{'test' if i.patient_id in patients else 'train'}" for i in images]
        (tissue.path / f"dsfold{fold}.txt").write_text("\n".join(lines))
    train.run(
        tissue.config,
        data=[tissue.tissue],
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


def test_a_run_can_leave_out_the_demonstration_and_write_for_tensorboard(tissue: Place) -> None:
    train.run(
        tissue.config,
        data=[tissue.tissue],
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
    network = build_first_network(
        FitConfig.from_toml(Place(tmp_path).config), {"test_efficientnet": tmp_path / "donor.safetensors"}
    )
    taken = network.branches[0].net.state_dict()  # type: ignore[union-attr]
    torch.testing.assert_close(taken["conv_stem.weight"], donor.state_dict()["conv_stem.weight"])


def test_weights_without_a_name_are_refused(tissue: Place) -> None:
    with pytest.raises(typer.BadParameter, match="NAME=FILE"):
        train.run(tissue.config, data=[tissue.tissue], runs=tissue.runs, weights=["donor.safetensors"])


def test_unlabelled_images_of_another_laboratory_take_part(tissue: Place, tmp_path: Path) -> None:
    tissue_folder(tmp_path / "elsewhere", patients=2)
    train.run(
        tissue.config,
        data=[tissue.tissue],
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
    with pytest.raises(
        MissingWeightsError, match=r"no weights for test_efficientnet at .*donor\.safetensors: pass an existing file"
    ):
        train.run(
            tissue.config,
            data=[tissue.tissue],
            runs=tissue.runs,
            assignments=assignments,
            database=tissue.database,
            weights=[f"test_efficientnet={donor}"],
        )
    save_file(timm.create_model("test_efficientnet").state_dict(), donor)
    train.run(resume=tissue.only_run().path, database=tissue.database)
    assert read_card(tissue.only_run().checkpoint).config["pretrained"] is True
