"""What an evaluation says of its images: which of the run's they are, whose, and which of them have no result."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from core.card import read_card
from core.imaging.decode import decode_image
from core.statistics.cautions import ImageNote
from core.statistics.evaluation import Evaluation
from tests.helpers.images.odd_tiffs import pages_tiff
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.networks import small_checkpoint
from tests.helpers.runs.checkpoints import SUBTYPE_CARD, TINY_CARD, bach_folder, tissue_and_checkpoint, write_split
from tests.helpers.runs.small_runs import Place
from training.evaluation.evaluate_checkpoint import EvaluationRequest, FinishedEvaluation, evaluate


def _judged(folder: Path, request: EvaluationRequest) -> FinishedEvaluation:
    return evaluate(replace(request, out=folder / "evaluations"))


def test_half_is_a_threshold_that_nobody_fitted(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    found = _judged(
        tmp_path, EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue", threshold="0.5")
    ).evaluation
    assert (found.threshold, found.temperature) == (0.5, 1.5)
    assert "by definition" in found.locked_on


def test_images_without_a_result_are_listed_with_their_reason(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    broken = "SOB_B_F-14-3-100-077.png"
    (tmp_path / "tissue" / broken).write_bytes(b"\x89PNG\r\n\x1a\nthe rest is lost")
    done = _judged(tmp_path, EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue"))
    assert done.evaluation.images == 8
    (line,) = done.evaluation.excluded
    assert line.file == broken
    assert line.words.startswith(f"{broken}: ")
    table = pd.read_parquet(done.folder / "predictions.parquet").set_index("file")
    assert len(table) == 9
    assert table["p_malignant"].isna().sum() == 1
    assert table.loc[broken, "reason"]


def test_how_a_file_was_read_is_told_with_the_figures(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    first = sorted((tmp_path / "tissue").iterdir())[0]
    pixels = decode_image(first.read_bytes()).pixels
    first.write_bytes(pages_tiff([(pixels, {}), (pixels[::-1], {})]))
    done = _judged(tmp_path, EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue"))
    note = ImageNote(first.name, "only the first of 2 pages is used", position=1)
    assert done.evaluation.notes == (note,)
    assert Evaluation.from_json(done.evaluation.to_json()).notes == (note,)
    table = pd.read_parquet(done.folder / "predictions.parquet").set_index("file")
    assert table.loc[first.name, "notes"] == note.note
    assert sum(table["notes"] != "") == 1
    for report in ("report.md", "report.html"):
        assert "only the first of 2 pages is used" in (done.folder / report).read_text()


def test_nothing_that_can_be_judged_is_an_error_with_the_reason(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    for path in (tmp_path / "tissue").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="none of 8 images has a prediction: the file is empty"):
        _judged(tmp_path, EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue"))
    assert not list((tmp_path / "evaluations").iterdir())


def test_a_set_of_one_malignancy_has_no_auc_and_says_so(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    for path in (tmp_path / "tissue").glob("SOB_B_*"):
        path.unlink()
    done = _judged(tmp_path, EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue", ablation=True))
    assert done.evaluation.figure("AUC") is None
    assert done.evaluation.figure("recall") is not None
    assert done.evaluation.ablation == ()
    assert any("all images are benign or all are malignant" in warning.words for warning in done.evaluation.warnings)


def test_a_network_s_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path, replace(TINY_CARD, name="../../up/<b>"))
    done = _judged(tmp_path, EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue"))
    assert done.folder.parent == tmp_path / "evaluations"
    assert "<b>" not in (done.folder / "report.html").read_text()


def test_a_part_of_the_run_s_split_is_found_beside_the_checkpoint(tmp_path: Path) -> None:
    tissue_and_checkpoint(tmp_path)
    names = sorted(path.name for path in (tmp_path / "tissue").iterdir())
    sides = {name: "test" if "-14-3-" in name or "-14-4-" in name else "train" for name in names}
    run_folder = write_split(tmp_path / "run", sides | {"SOB_B_A-14-9-100-001.png": "test"})
    small_checkpoint(run_folder / "checkpoint.safetensors", TINY_CARD)
    done = _judged(
        tmp_path, EvaluationRequest(run_folder / "checkpoint.safetensors", "breakhis", tmp_path / "tissue", part="test")
    )
    assert {image.patient_id for image in done.images} == {"3", "4"}
    said = [caution.words for caution in done.evaluation.warnings]
    assert "1 of 5 test images of the run are not in this folder" in said
    assert not any("trained on" in words or "leaks" in words for words in said)


def test_a_patient_in_train_and_in_test_is_a_leak(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    names = sorted(path.name for path in (tmp_path / "tissue").iterdir())
    sides = {name: "test" if "-001.png" in name or "-14-4-" in name else "train" for name in names}
    request = EvaluationRequest(
        checkpoint, "breakhis", tmp_path / "tissue", part="test", run=write_split(tmp_path / "run", sides)
    )
    leaks = [c.words for c in _judged(tmp_path, request).evaluation.warnings if "leaks" in c.words]
    assert len(leaks) == 3
    assert all("in test and in train" in leak for leak in leaks)


def test_a_part_without_a_run_is_refused(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="pass its folder with --run"):
        _judged(tmp_path, EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue", part="test"))


def test_another_laboratory_s_patients_are_not_the_trained_ones(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    lines = [f"{path.name},{kind},1" for kind, path in _two_kinds(tmp_path / "tissue")]
    (tmp_path / "tissue" / "labels.csv").write_text("\n".join(["file,label,patient_id", *lines]) + "\n")
    found = _judged(tmp_path, EvaluationRequest(checkpoint, "folder", tmp_path / "tissue")).evaluation
    assert found.images == 8
    assert found.dataset == "folder tissue"
    assert not any(warning.kind == "trained on" for warning in found.warnings)


def test_of_a_folder_it_is_not_known_whose_patients_they_are(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    kinds = {"benign": "fibroadenoma", "malignant": "ductal_carcinoma"}
    lines = [f"{path.name},{kinds[kind]},{900 + n}" for n, (kind, path) in enumerate(_two_kinds(tmp_path / "tissue"))]
    (tmp_path / "tissue" / "labels.csv").write_text("\n".join(["file,label,patient_id", *lines]) + "\n")
    found = _judged(tmp_path, EvaluationRequest(checkpoint, "folder", tmp_path / "tissue")).evaluation
    assert found.warnings[0].words.startswith(
        "the numbers of 1 of 8 patients also occur in the network's training set; if they are the same"
    )


def test_patients_are_known_and_counted_however_the_table_writes_them(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    kinds = {"benign": "Fibroadenoma ", "malignant": "DUCTAL CARCINOMA"}
    written = ("0900", "901", "901.0", "00902", "902\u00a0", "903", " 0903", "904")
    pairs = zip(_two_kinds(tmp_path / "tissue"), written, strict=True)
    lines = [f".\\{path.name.upper()};{kinds[kind]};{patient};" for (kind, path), patient in pairs]
    table = "\n".join(["sep=;", "File;Label;Patient ID;", *lines, ";;;"])
    (tmp_path / "tissue" / "Labels.CSV").write_text(table, encoding="utf-16")
    found = _judged(tmp_path, EvaluationRequest(checkpoint, "folder", tmp_path / "tissue")).evaluation
    assert (found.images, found.patients) == (8, 5)
    said = [warning.words for warning in found.warnings]
    assert said[0].startswith("the numbers of 1 of 5 patients also occur in the network's training set")
    assert "3 patients are each spelled in several ways and treated as one ('901' and '901.0', ...)" in said


def _two_kinds(tissue: Path) -> list[tuple[str, Path]]:
    return [("benign" if "_B_" in path.name else "malignant", path) for path in sorted(tissue.glob("*.png"))]


def test_normal_and_in_situ_tissue_of_bach_is_reported_apart(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path)
    found = _judged(tmp_path, EvaluationRequest(checkpoint, "bach", bach_folder(tmp_path / "bach"))).evaluation
    subtypes = {group.name: group.images for group in found.groups if group.kind == "subtype"}
    assert subtypes == {"normal": 3, "benign": 3, "in_situ": 3, "invasive": 3}
    whole, apart = found.figure("accuracy"), found.figure("accuracy, without normal and in situ")
    assert whole is not None
    assert apart is not None
    assert (whole.n, apart.n) == (12, 6)
    assert any("treated as a separate patient" in warning.words for warning in found.warnings)
    assert not any("trained on" in warning.words for warning in found.warnings)


def test_class_figures_need_the_classes_of_the_dataset(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path, SUBTYPE_CARD)
    same = _judged(tmp_path, EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue")).evaluation
    assert same.label_set == SUBTYPE_CARD.label_set
    assert same.figure("class accuracy") is not None
    assert [len(confusion.classes) for confusion in same.confusions] == [2, 8]
    other = _judged(tmp_path, EvaluationRequest(checkpoint, "bach", bach_folder(tmp_path / "bach"))).evaluation
    assert other.label_set.name == "binary"
    assert other.figure("class accuracy") is None


@pytest.fixture(scope="module")
def run_of_folds(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Images and a run over two folds that was made of them."""
    place = Place(tmp_path_factory.mktemp("folds"))
    tissue_folder(place.tissue, patients=6, each=3)
    # So that no network can tell them all apart, and there is an interval.
    for benign, malignant in (("1", "2"), ("3", "4")):
        first, second = (f"SOB_{code}-14-{n}-100-001.png" for code, n in (("B_F", benign), ("M_DC", malignant)))
        (place.tissue / first).rename(place.tissue / "between")
        (place.tissue / second).rename(place.tissue / first)
        (place.tissue / "between").rename(place.tissue / second)
    place.train("members=1", "generated=", "phases.0.epochs=1")
    return place


def test_out_of_fold_gives_exactly_what_training_wrote_on_the_card(run_of_folds: Place, tmp_path: Path) -> None:
    folder = run_of_folds.only_run()
    done = _judged(tmp_path, EvaluationRequest(folder.checkpoint, "breakhis", run_of_folds.tissue, part="out-of-fold"))
    card = read_card(folder.checkpoint)
    on_card = {metric.name: metric for metric in card.metrics}
    for name, unit in (("AUC by image", "image"), ("AUC by accession number", "patient")):
        found = done.evaluation.figure("AUC", unit)  # type: ignore[arg-type]
        assert found is not None
        expected = on_card[name]
        assert 0.2 < found.value < 1
        assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (done.evaluation.threshold, done.evaluation.locked_on) == (card.threshold, card.locked_on)
    trained = pd.read_parquet(folder.path / "predictions.parquet")
    judged = pd.read_parquet(done.folder / "predictions.parquet")
    pd.testing.assert_frame_equal(judged[trained.columns], trained, check_exact=True)


def test_out_of_fold_says_that_the_threshold_was_fitted_to_these_predictions(
    run_of_folds: Place, tmp_path: Path
) -> None:
    checkpoint = run_of_folds.only_run().checkpoint
    request = EvaluationRequest(checkpoint, "breakhis", run_of_folds.tissue, part="out-of-fold")
    warnings = _judged(tmp_path, request).evaluation.warnings
    assert any("threshold and temperature were fitted to these predictions" in warning.words for warning in warnings)
    assert not any("trained on" in warning.words for warning in warnings)


def test_a_run_over_two_folders_is_evaluated_out_of_fold_over_both(tmp_path: Path) -> None:
    place = Place(tmp_path)
    tissue_folder(place.tissue)
    more = tmp_path / "more"
    more.mkdir()
    for patient in ("3", "4"):
        for path in sorted(place.tissue.glob(f"*-14-{patient}-100-*.png")):
            path.rename(more / path.name)
    place.train("members=1", "generated=", "phases.0.epochs=1", more=(more,))
    folder = place.only_run()
    split = pd.read_csv(folder.split, dtype=str)
    assert set(split.patient_id) == {"1", "2", "3", "4"}
    assert not split.file.str.contains("/").any()  # below its folder, not a path of this machine
    request = EvaluationRequest(folder.checkpoint, "breakhis", place.tissue, part="out-of-fold", more=(more,))
    done = _judged(tmp_path, request)
    trained = pd.read_parquet(folder.path / "predictions.parquet")
    judged = pd.read_parquet(done.folder / "predictions.parquet")
    pd.testing.assert_frame_equal(judged[trained.columns], trained, check_exact=True)
    alone = _judged(tmp_path, EvaluationRequest(folder.checkpoint, "breakhis", more, part="out-of-fold"))
    assert len(pd.read_parquet(alone.folder / "predictions.parquet")) == len(trained) / 2
    assert any("of the run are not in this folder" in warning.words for warning in alone.evaluation.warnings)
