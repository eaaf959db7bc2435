"""`python -m training.ship_evaluations`: the folder beside a checkpoint, made whole from its run."""

from pathlib import Path

import pytest
import typer

from core.card import checkpoint_sha256, model_version
from core.statistics.evaluation import Evaluation
from core.statistics.map_trust import MapTrust
from core.statistics.shift import Shift
from db.values.evaluations import MAP_TRUST_FILE, shipped_folder
from service.shipped_evaluations import read_shipped
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.runs.small_runs import Place
from training.ship_evaluations import run

PATIENTS, EACH = 8, 2


def magnified(folder: Path) -> None:
    """Write the tissue of a BreaKHis folder once more as images at 400X."""
    for image in tissue_folder(folder, PATIENTS, EACH):
        other = image.path.with_name(image.path.name.replace("-100-", "-400-"))
        other.write_bytes(image.path.read_bytes())


def another_laboratory(folder: Path) -> Path:
    lines = ["file,label,patient_id"]
    for image in tissue_folder(folder, PATIENTS, EACH):
        lines.append(f"{image.path.name},{image.malignancy},other {image.patient_id}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a small run, whose evaluations have been made by the command."""
    place = Place(tmp_path_factory.mktemp("shipped"))
    magnified(place.tissue)
    checkpoint = place.train('branches=["cnn3"]', "members=1", "generated=", "phases.0.epochs=1", "views=one")
    stale = shipped_folder(checkpoint) / "of an older version" / "metrics.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    elsewhere = another_laboratory(place.path / "elsewhere")
    run(checkpoint, place.only_run().path, [place.tissue], [f"folder={elsewhere}"], map_images=1)
    return checkpoint


def test_the_folder_holds_evaluations_and_comparisons_that_the_app_reads(shipped: Path) -> None:
    found = read_shipped(shipped, model_version(checkpoint_sha256(shipped)))
    assert found.problems == ()
    out_of_fold, elsewhere = (Evaluation.from_json(one.row.document) for one in found.evaluations)
    assert (out_of_fold.dataset, out_of_fold.split) == ("breakhis", "out-of-fold")
    assert out_of_fold.images == 2 * PATIENTS * EACH
    assert out_of_fold.ablation
    assert (elsewhere.dataset, elsewhere.split) == ("folder elsewhere", "all")
    shifts = [Shift.from_json(row.document) for row in found.shifts]
    assert [(shift.source, shift.target) for shift in shifts] == [
        ("BreaKHis 100X", "BreaKHis 400X"),
        ("BreaKHis 100X", "folder elsewhere"),
    ]


def test_images_are_shipped_without_pixels_and_with_the_hashes_that_keep_readers_blind(shipped: Path) -> None:
    found = read_shipped(shipped, model_version(checkpoint_sha256(shipped)))
    for one in found.evaluations:
        assert len(one.images) == Evaluation.from_json(one.row.document).images
        assert all(image.source_sha256 and image.file_sha256 for image in one.images)
        assert not any(image.preview_sha256 or image.heatmap_sha256 for image in one.images)
    assert {path.suffix for path in shipped_folder(shipped).rglob("*") if path.is_file()} == {".json"}


def test_the_heat_maps_are_measured_on_the_images_it_was_trained_on(shipped: Path) -> None:
    found = MapTrust.from_json((shipped_folder(shipped) / MAP_TRUST_FILE).read_bytes())
    assert found.model_version == model_version(checkpoint_sha256(shipped))
    assert (found.dataset, found.images, found.patients, found.trained_on) == ("BreaKHis", PATIENTS, PATIENTS, PATIENTS)


def test_what_an_older_version_left_is_gone_and_nothing_half_made_remains(shipped: Path) -> None:
    assert {path.name for path in shipped_folder(shipped).iterdir()} == {
        "breakhis",
        "breakhis-100X-to-400X",
        "breakhis-100X-to-elsewhere",
        "elsewhere",
        MAP_TRUST_FILE,
    }
    assert not list(shipped.parent.glob(".*evaluations*"))


def test_a_command_that_fails_leaves_the_folder_as_it_was(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in shipped_folder(shipped).rglob("*.json")}
    with pytest.raises(typer.Exit):
        run(shipped, shipped.parent / "no run", [shipped.parent / "tissue"])
    assert "cannot read the run's split" in " ".join(capsys.readouterr().err.split())
    assert {path: path.read_bytes() for path in shipped_folder(shipped).rglob("*.json")} == before
