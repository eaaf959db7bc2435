"""`python -m training.scope`: the scope of a checkpoint, fitted by patient, and what is tried on it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from core.card import TrainingData, read_card
from core.imaging.heatmaps import encode_png
from core.network.checkpoint import load_classifier
from core.pipeline import analyse_image
from core.scope.reference import describe_places
from tests.helpers.networks import SMALL_CARD, small_checkpoint, small_classifier
from tests.helpers.scopes import measure_tissue_of, tissue
from training import scope, try_scope, try_watch
from training.scopes.fit import FALSE_ALARMS, LEAST_PATIENTS, UNUSUAL, fit_scope, leave_one_out, measure_image
from training.scopes.pictures import (
    ALTERATIONS,
    GENERATED,
    HEIGHT,
    WIDTH,
    change_stain,
    generate_picture,
    measure_stain,
    photographs,
)

APP = Typer()
APP.command()(scope.run)
TRIAL = Typer()
TRIAL.command()(try_scope.run)
WATCH = Typer()
WATCH.command()(try_watch.run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of each of six patients under BreaKHis names, in two folders."""
    root = tmp_path_factory.mktemp("tissue")
    for patient in range(6):
        for number in range(2):
            code = "M_DC" if patient % 2 else "B_F"
            place = root / ("more" if number else "first")
            place.mkdir(exist_ok=True)
            name = f"SOB_{code}-14-{1000 + patient}-100-{number + 1:03d}.png"
            (place / name).write_bytes(encode_png(tissue(patient, number)))
    return root


def fit(folder: Path, checkpoint: Path, out: Path, *more: str) -> str:
    roots = [str(root) for place in ("first", "more") for root in ("--data", folder / place)]
    done = CliRunner().invoke(APP, [str(checkpoint), *roots, "--out", str(out), *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_features_beyond_half_precision_are_measured_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = small_classifier()
    features = classifier.features
    monkeypatch.setattr(classifier, "features", lambda patches: features(patches) * 1e6)
    image = measure_image(tissue(0), "patient 0", classifier)
    assert not isinstance(image, str)
    assert np.abs(image.places).max() > np.finfo(np.float16).max
    assert np.isfinite(image.places).all()


def test_the_command_adds_a_scope_and_leaves_the_network_as_it_was(folder: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    small_checkpoint(old)
    before = old.read_bytes()
    said = fit(folder, old, new)
    assert old.read_bytes() == before
    assert "12 images of 6 patients" in said
    about = read_card(new).scope
    assert about is not None
    assert (about.images, about.patients, len(about.patient_scores)) == (12, 6, 6)
    assert new.stat().st_size - old.stat().st_size < 2_100_000
    one, other = load_classifier(old), load_classifier(new)
    patches = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    np.testing.assert_array_equal(one.classify(patches), other.classify(patches))
    assert one.scope is None
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3)).astype(np.uint8)
    assert analyse_image(noise, one, heatmap=False).prediction is not None
    assert analyse_image(noise, other, heatmap=False).withheld
    assert fit(folder, new, new)  # again, over itself
    assert load_classifier(new).card.scope == about


def test_a_picture_that_is_left_out_is_named_and_ends_the_command_with_status_1(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for place in ("first", "more"):
        shutil.copytree(folder / place, data / place)
    (data / "first" / "overview.jfif").write_bytes(encode_png(tissue(1)))
    small_checkpoint(tmp_path / "old.safetensors")
    roots = ("--data", str(data / "first"), "--data", str(data / "more"))
    done = CliRunner().invoke(
        APP, [str(tmp_path / "old.safetensors"), *roots, "--out", str(tmp_path / "new.safetensors")]
    )
    assert (done.exit_code, (tmp_path / "new.safetensors").is_file()) == (1, True), done.output
    assert "overview.jfif" in done.output


def test_with_a_run_limits_come_from_the_networks_of_its_folds(folder: Path, tmp_path: Path) -> None:
    small_checkpoint(tmp_path / "all.safetensors")
    (tmp_path / "folds").mkdir()
    for number, held_out in ((1, {"1000", "1001", "1002"}), (2, {"1003", "1004"})):
        trained = tuple(str(1000 + patient) for patient in range(5) if str(1000 + patient) not in held_out)
        card = replace(SMALL_CARD, training_data=TrainingData("BreaKHis", 5, len(trained), trained))
        small_checkpoint(tmp_path / "folds" / f"{number}.safetensors", card)
    said = fit(folder, tmp_path / "all.safetensors", tmp_path / "new.safetensors", "--run", str(tmp_path))
    assert "the networks of the folds: 12 images of 6 patients" in said
    about = read_card(tmp_path / "new.safetensors").scope
    assert about is not None
    assert len(about.patient_scores) == 6  # 1005, whom no network knows, once


def test_a_trial_counts_what_is_out_of_scope_for_each_kind_of_picture(folder: Path, tmp_path: Path) -> None:
    small_checkpoint(tmp_path / "old.safetensors")
    fit(folder, tmp_path / "old.safetensors", tmp_path / "new.safetensors")
    asked = ["--data", str(folder / "first"), "--pictures", "12", "--altered", "2", "--json"]
    done = CliRunner().invoke(TRIAL, [str(tmp_path / "new.safetensors"), *asked])
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)
    pictures = [counts[kind] for kind in counts if "pictures" in kind or "photographs" in kind]
    assert sum(sum(found.values()) for found in pictures) == 12
    assert {sum(counts[kind].values()) for kind in ALTERATIONS} == {2}


def test_a_trial_of_a_checkpoint_without_a_scope_says_how_to_fit_one(folder: Path, tmp_path: Path) -> None:
    small_checkpoint(tmp_path / "old.safetensors")
    done = CliRunner().invoke(TRIAL, [str(tmp_path / "old.safetensors"), "--data", str(folder / "first")])
    assert done.exit_code == 2
    assert "python -m training.scope" in done.stderr


def test_too_few_patients_are_refused(folder: Path, tmp_path: Path) -> None:
    small_checkpoint(tmp_path / "old.safetensors")
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((folder / "first").iterdir())[: LEAST_PATIENTS - 1]:
        (few / path.name).write_bytes(path.read_bytes())
    arguments = [str(tmp_path / "old.safetensors"), "--data", str(few), "--out", str(tmp_path / "new.safetensors")]
    done = CliRunner().invoke(APP, arguments)
    assert done.exit_code == 2
    assert "at least 5 patients" in done.output
    assert not (tmp_path / "new.safetensors").exists()


def test_limits_let_no_more_held_out_images_pass_than_stated() -> None:
    classifier = small_classifier()
    measured = measure_tissue_of(classifier, patients=8, each=1)
    reference, about = fit_scope(measured, leave_one_out(measured), classifier.reference_widths, "")
    assert about.false_alarms <= FALSE_ALARMS
    assert about.unusual <= UNUSUAL
    assert (reference.limit_unusual, reference.limit_out) == (about.limit_unusual, about.limit_out)


def test_places_of_held_out_images_reach_the_limit_as_rarely_as_images() -> None:
    classifier = small_classifier()
    measured = measure_tissue_of(classifier, patients=8, each=1)
    reference, _ = fit_scope(measured, leave_one_out(measured), classifier.reference_widths, "")
    own = [
        space.distances(np.concatenate([describe_places(image.places, reference.widths)[number] for image in measured]))
        for number, space in enumerate(reference.places)
    ]
    # Of images that the reference knows, even fewer.
    assert all(distances.max() > 0.3 and (distances >= 1).mean() <= FALSE_ALARMS for distances in own)


def test_a_patient_with_many_images_counts_no_more_than_others() -> None:
    classifier = small_classifier()
    measured = measure_tissue_of(classifier, patients=6, each=1)
    many = [*measured, *(measured[0] for _ in range(30))]
    (once, _), (often, _) = (
        fit_scope(images, leave_one_out(images), classifier.reference_widths, "") for images in (measured, many)
    )
    np.testing.assert_allclose(once.layers[0].mean, often.layers[0].mean, rtol=1e-6)
    np.testing.assert_allclose(once.layers[0].unit, often.layers[0].unit, rtol=1e-2)


def test_every_alteration_and_every_generated_picture_is_a_picture() -> None:
    random = np.random.default_rng(0)
    image = generate_picture("cells", random)
    for kind in GENERATED:
        made = generate_picture(kind, random)
        assert made.shape == (HEIGHT, WIDTH, 3), kind
        assert made.dtype == np.uint8, kind
    for name, alter in ALTERATIONS.items():
        altered = alter(image)
        assert altered.shape == image.shape, name
        assert altered.dtype == np.uint8, name
        assert (altered != image).any(), name
    assert len(list(photographs())) > 20


def test_a_darker_stain_raises_alarms_that_an_unchanged_one_does_not(folder: Path, tmp_path: Path) -> None:
    small_checkpoint(tmp_path / "old.safetensors")
    fit(folder, tmp_path / "old.safetensors", tmp_path / "new.safetensors")
    roots = [str(part) for place in ("first", "more") for part in ("--data", folder / place)]
    done = CliRunner().invoke(WATCH, [str(tmp_path / "new.safetensors"), *roots, "--months", "100", "--json"])
    assert done.exit_code == 0, done.output
    trials = json.loads(done.stdout)
    about = read_card(tmp_path / "new.safetensors").scope
    assert about is not None
    unchanged, darker = trials["unchanged"], trials["darker by 2 SD"]
    assert unchanged["patients"] == about.patients
    assert unchanged["typical"] == pytest.approx(np.exp(np.log(about.patient_scores).mean()))
    assert darker["typical"] > unchanged["typical"]
    assert darker["alarms"]["20"] >= unchanged["alarms"]["20"]


def test_the_watch_cannot_be_tried_on_a_checkpoint_without_a_scope(folder: Path, tmp_path: Path) -> None:
    small_checkpoint(tmp_path / "old.safetensors")
    done = CliRunner().invoke(WATCH, [str(tmp_path / "old.safetensors"), "--data", str(folder / "first")])
    assert done.exit_code == 2
    assert "python -m training.scope" in done.stderr


def test_a_stain_that_is_changed_by_a_factor_is_measured_as_changed() -> None:
    image = tissue(1)
    factors = np.array([1.2, 1.0, 0.8])
    np.testing.assert_allclose(measure_stain(change_stain(image, factors)), measure_stain(image) * factors, rtol=0.05)
