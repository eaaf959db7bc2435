"""`python -m training.evaluate` from checkpoint to folder, database and printed table."""

from pathlib import Path

import pandas as pd
import pytest
import typer

from core.network.checkpoint import load_classifier
from core.pipeline import analyse
from core.statistics.calibration import FittedOnTestError
from core.statistics.evaluation import Evaluation
from db import store
from db.database import open_database
from db.files import Files
from db.values.evaluations import EvaluatedImage, EvaluationRow, ImageFilter
from tests.helpers.runs.checkpoints import TINY_CARD, tissue_and_checkpoint
from training.evaluate import run
from training.evaluation.evaluate_checkpoint import EvaluationRequest, evaluate

PLOTS = ("roc", "precision-recall", "reliability", "confusion")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which an evaluation with maps has been run once, by the command."""
    folder = tmp_path_factory.mktemp("evaluated")
    checkpoint = tissue_and_checkpoint(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECOND_READ_DATA", str(folder / "data"))
        run(checkpoint, "breakhis", [folder / "tissue"], out=folder / "evaluations", ablation=True, as_json=True)
    return folder


def _written(folder: Path) -> Path:
    (found,) = (folder / "evaluations").iterdir()
    return found


def _stored(folder: Path, cell: ImageFilter | None = None) -> tuple[EvaluationRow, list[EvaluatedImage]]:
    with open_database(f"sqlite:///{folder / 'data' / 'second_read.sqlite'}").read() as session:
        (row,) = store.evaluations.evaluations(session, None)
        return row, store.evaluations.evaluated_images(session, None, row.id, cell)


def test_an_evaluation_leaves_predictions_metrics_plots_and_reports(evaluated: Path) -> None:
    names = {path.name for path in _written(evaluated).iterdir()}
    assert {"predictions.parquet", "metrics.json", "report.html", "report.md"} <= names
    assert {f"{plot}.png" for plot in PLOTS} <= names


def test_every_image_is_judged_as_a_reader_would_have_it_judged(evaluated: Path) -> None:
    table = pd.read_parquet(_written(evaluated) / "predictions.parquet").set_index("file")
    classifier = load_classifier(evaluated / "tiny.safetensors")
    assert len(table) == 8
    for path in (evaluated / "tissue").iterdir():
        prediction = analyse(path.read_bytes(), classifier).prediction
        assert prediction is not None
        assert tuple(table.loc[path.name, ["p_benign", "p_malignant"]]) == prediction.probabilities
        assert table.loc[path.name, "predicted"] == prediction.label


def test_the_database_holds_the_evaluation_with_its_images_and_their_maps(evaluated: Path) -> None:
    row, images = _stored(evaluated)
    document = (_written(evaluated) / "metrics.json").read_text()
    assert row.document == document
    assert (row.model_name, row.dataset, row.split, row.images) == ("tiny", "breakhis", "all", 8)
    assert Path(row.folder) == _written(evaluated).resolve()
    files = Files(evaluated / "data" / "files")
    for image in images:
        assert files.get(str(image.preview_sha256)).startswith(b"\xff\xd8\xff")
        assert files.get(str(image.heatmap_sha256)).startswith(b"\x89PNG")


def test_the_images_of_a_matrix_cell_are_those_it_counts(evaluated: Path) -> None:
    found = Evaluation.from_json(_stored(evaluated)[0].document)
    for row, malignant in enumerate((False, True)):
        for column, called in enumerate((False, True)):
            _, images = _stored(evaluated, ImageFilter(malignant=malignant, called_malignant=called))
            assert len(images) == found.confusions[0].counts[row][column]


def test_the_evaluation_keeps_what_the_card_locked(evaluated: Path) -> None:
    found = Evaluation.from_json((_written(evaluated) / "metrics.json").read_bytes())
    assert (found.threshold, found.temperature, found.locked_on) == (0.45, 1.5, TINY_CARD.locked_on)
    assert "nothing was fitted in this evaluation" in found.protocol
    assert found.demonstration


def test_patients_who_were_trained_on_are_said(evaluated: Path) -> None:
    found = Evaluation.from_json((_written(evaluated) / "metrics.json").read_bytes())
    assert found.warnings[0].words == "the network was trained on 1 of 4 patients, so these figures are too optimistic"
    assert any("differs from its official release: images: 8 of 7,909" in warning.words for warning in found.warnings)


def test_json_is_all_that_stdout_carries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path / "data"))
    checkpoint = tissue_and_checkpoint(tmp_path)
    arguments = (checkpoint, "breakhis", [tmp_path / "tissue"])
    run(*arguments, out=tmp_path / "evaluations", maps=False, as_json=True)  # type: ignore[arg-type]
    found = Evaluation.from_json(capsys.readouterr().out)
    assert found.images == 8
    run(*arguments, out=tmp_path / "evaluations", maps=False)  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert "balanced accuracy" in printed
    assert "95% interval" in printed


def test_a_picture_that_is_left_out_ends_the_command_with_status_1_once_the_rest_is_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path / "data"))
    checkpoint = tissue_and_checkpoint(tmp_path)
    damaged = next((tmp_path / "tissue").rglob("*.png"))
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(typer.Exit) as ended:
        run(checkpoint, "breakhis", [tmp_path / "tissue"], out=tmp_path / "out", maps=False, as_json=True)
    assert ended.value.exit_code == 1
    printed = capsys.readouterr()
    assert Evaluation.from_json(printed.out).images == 7
    assert "1 of 8 images could not be analysed" in printed.err
    assert _stored(tmp_path)[0].images == 7


def test_a_threshold_is_never_fitted_to_the_images_it_is_judged_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path / "data"))
    checkpoint = tissue_and_checkpoint(tmp_path)
    with pytest.raises(FittedOnTestError, match="no threshold is fitted"):
        evaluate(
            EvaluationRequest(checkpoint, "breakhis", tmp_path / "tissue", threshold="youden", out=tmp_path / "out")
        )
    with pytest.raises(typer.Exit) as stopped:
        run(checkpoint, "breakhis", [tmp_path / "tissue"], threshold="youden", out=tmp_path / "out")
    assert stopped.value.exit_code == 2
    assert "no threshold is fitted to the evaluated images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
