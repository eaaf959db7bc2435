"""Training, evaluation and the comparison of sets see an image at the scale at which it is served."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.card import InputPolicy, TrainedScale
from core.console import progress_bar
from core.data.datasets import LabelledImage, list_breakhis, load_dataset
from core.fitting.augmentation import training_patch
from core.fitting.config import Augmentation, FitConfig
from core.fitting.held_out import HeldOutImages
from core.fitting.images import hash_patch_list
from core.fitting.pixel_cache import open_pixels
from core.imaging.decode import decode_image
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.pipeline import analyse, cut_normalised_patches
from core.precision import compare
from core.results import Patches
from core.statistics.evaluation import Evaluation
from tests.helpers.fakes import FAKE_CARD, FakeClassifier
from tests.helpers.images.dataset_trees import idc_tree
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.networks import small_checkpoint
from tests.helpers.runs.checkpoints import TINY_CARD, bach_folder
from tests.helpers.runs.fits import CONFIG, tiny_network
from training.evaluate import run as evaluate_command
from training.evaluation.evaluate_checkpoint import KNOWN_PATIENTS, EvaluationRequest, evaluate
from training.runs.card import build_card
from training.runs.plan import filter_images, plan_run, scale_cautions
from training.shift import ShiftRequest, compare_sets
from training.shifts.sets import SetRequest
from training.shifts.steps import build_tables

SCALE = TrainedScale(low=0.1, high=0.49, working=0.2)
WORKING = replace(CONFIG, working_um_per_px=0.2)


def at_several_magnifications(folder: Path, side: int = 96) -> list[LabelledImage]:
    """Write tissue of four patients, each with one image at 100X and one at 200X."""
    for image in tissue_folder(folder, 4, 2, side):
        if image.path.stem.endswith("002"):
            image.path.rename(image.path.with_name(image.path.name.replace("-100-002", "-200-002")))
    return list_breakhis(folder)


def test_a_run_trains_on_the_pixels_that_are_served(tmp_path: Path) -> None:
    images = at_several_magnifications(tmp_path / "tissue")
    classifier = FakeClassifier(replace(FAKE_CARD, scale=SCALE, input_policy=WORKING.input_policy))
    for folder in (None, tmp_path / "cache", tmp_path / "cache"):
        opened = open_pixels(images, WORKING, folder)
        assert {(image.magnification, pixels.shape) for image, pixels in zip(images, opened.images, strict=True)} == {
            ("100X", (96, 104, 3)),
            ("200X", (48, 52, 3)),
        }
        for image, pixels in zip(images, opened.images, strict=True):
            served = cut_normalised_patches(decode_image(image.path.read_bytes()).pixels, classifier, image.um_per_px)
            assert served.inner == pixels.shape[:2]
            assert np.array_equal(served.patches[0], pixels[:32, :32])


def test_a_cache_keeps_an_image_at_each_scale_it_was_said_to_have(tmp_path: Path) -> None:
    (image, *_) = at_several_magnifications(tmp_path / "tissue")
    shapes = []
    for scale in (0.2, 0.4, 0.1, 0.2, None):
        (pixels,) = open_pixels([replace(image, um_per_px=scale)], WORKING, tmp_path / "cache").images
        shapes.append(pixels.shape[:2])
    assert shapes == [(96, 104), (192, 208), (48, 52), (96, 104), (96, 104)]
    (plain,) = open_pixels([replace(image, um_per_px=0.4)], CONFIG, tmp_path / "cache").images
    assert plain.shape[:2] == (96, 104), "without a working scale an image stays as it is"
    names = {hash_patch_list("train", [replace(image, um_per_px=scale)], WORKING) for scale in (0.2, 0.4, None)}
    assert len(names) == 2, "an unknown scale gives the pixels of the working scale"


def test_an_image_smaller_than_a_patch_is_mirrored_in_training_as_in_use(tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(0, 256, (12, 14, 3), np.uint8)
    still = Augmentation(stain=0, mixing=0, density=0, grey=0, blur=0, zoom=1)
    patch = training_patch(small, WORKING.input_policy, replace(WORKING, augmentation=still), np.random.default_rng(0))
    (served,) = cut_normalised_patches(
        small, FakeClassifier(replace(FAKE_CARD, scale=SCALE, input_policy=WORKING.input_policy)), 0.2
    ).patches
    views = [np.rot90(side, turns) for side in (served, served[:, ::-1]) for turns in range(4)]
    assert min(np.abs(view.astype(int) - patch).max() for view in views) <= 1


def test_held_out_images_are_cut_at_the_working_scale(tmp_path: Path) -> None:
    images = at_several_magnifications(tmp_path / "tissue")
    network = tiny_network(WORKING)
    device = next(network.parameters()).device
    losses = [HeldOutImages(images, config, None, device).judge(network)[0] for config in (WORKING, CONFIG)]
    assert losses[0] != losses[1]


def test_the_card_of_a_run_has_the_scales_of_its_training_images(tmp_path: Path) -> None:
    images = at_several_magnifications(tmp_path / "tissue")
    folds = replace(WORKING.protocol, kind="folds", folds=2)
    for config, scale in ((WORKING, TrainedScale(0.1, 0.2, 0.2)), (CONFIG, None)):
        plan = plan_run(images, replace(config, protocol=folds))
        assert build_card(plan, config, "test", demonstration=True).scale == scale


def test_a_working_scale_needs_images_of_known_scale(tmp_path: Path) -> None:
    images = at_several_magnifications(tmp_path / "tissue")
    unknown = [replace(image, um_per_px=None) for image in images]
    assert filter_images(unknown, CONFIG, 0) == unknown
    with pytest.raises(ValueError, match="working_um_per_px needs images of known scale"):
        filter_images(unknown, WORKING, 0)
    some = [images[0], *unknown[1:]]
    (caution,) = scale_cautions(filter_images(some, WORKING, 0), WORKING)
    assert caution.words == "the scale of 7 of 8 images is unknown: they are used as they are"
    assert scale_cautions(images, WORKING) == scale_cautions(some, CONFIG) == ()


def test_a_working_scale_is_one_of_a_microscope_and_of_patches() -> None:
    for wrong in (0.0, -0.2, float("nan"), 300.0):
        with pytest.raises(ValueError, match="is not a plausible scale for a microscope image"):
            replace(CONFIG, working_um_per_px=wrong)
    with pytest.raises(ValueError, match="has no working_um_per_px"):
        replace(WORKING, input_policy=InputPolicy("resize", input_side=32))
    assert WORKING.flat()["working_um_per_px"] == 0.2
    table = {"working_um_per_px": 0.2, **json.loads(json.dumps({"name": "t", "branches": ["test_efficientnet"]}))}
    rest = {"head": "additive", "mean": [0.5] * 3, "std": [0.5] * 3, "input_policy": {"kind": "patches"}}
    phases = [{"name": "all", "epochs": 1, "unfrozen": "all", "learning_rate": 1e-3}]
    assert FitConfig.from_table({**table, **rest, "phases": phases}, "t.toml").working_um_per_px == 0.2


def test_an_evaluation_uses_the_scale_that_the_dataset_knows(tmp_path: Path) -> None:
    images = at_several_magnifications(tmp_path / "tissue")
    small_checkpoint(tmp_path / "scaled.safetensors", replace(TINY_CARD, scale=SCALE))
    classifier = load_classifier(tmp_path / "scaled.safetensors")
    request = EvaluationRequest(tmp_path / "scaled.safetensors", "breakhis", tmp_path / "tissue")
    judged = evaluate(replace(request, out=tmp_path / "evaluations", ablation=True)).images
    for image, one in zip(images, judged, strict=True):
        prediction = analyse(image.path.read_bytes(), classifier, um_per_px=image.um_per_px).prediction
        assert prediction is not None
        assert one.probabilities == prediction.probabilities
        assert not any("unknown" in note for note in one.notes)
    unscaled = analyse(images[1].path.read_bytes(), classifier).prediction
    assert unscaled is not None
    assert unscaled.probabilities != judged[1].probabilities


def test_the_gate_of_precisions_judges_images_at_their_scale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small_checkpoint(tmp_path / "scaled.safetensors", replace(TINY_CARD, scale=SCALE))
    seen: list[int] = []

    def count(self: Classifier, patches: Patches, *, evidence: bool) -> object:
        seen.append(len(patches))
        return examine(self, patches, evidence=evidence)

    examine = Classifier.examine
    monkeypatch.setattr(Classifier, "examine", count)
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    classifier = load_classifier(tmp_path / "scaled.safetensors")
    compare(classifier, classifier, [(pixels, 0.2), (pixels, 0.4)])
    assert seen[2] == seen[3] > seen[0] == seen[1]


_LARGE = replace(TINY_CARD, input_policy=InputPolicy("patches", input_side=32, patch_side=448, stride=448))


@pytest.mark.parametrize("scale", [None, SCALE])
def test_patches_of_idc_are_refused_at_once_in_words(
    tmp_path: Path, scale: TrainedScale | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    idc_tree(tmp_path / "idc", (8863, 10253, 16570, 9), 1)
    tissue_folder(tmp_path / "tissue", 4, 2, 48)
    small_checkpoint(tmp_path / "large.safetensors", replace(_LARGE, scale=scale))
    monkeypatch.setattr(Classifier, "classify", lambda *_: pytest.fail("an image was classified"))
    why = "a 50 x 50 image is smaller than one 448 px patch" if scale is None else "enlarged 20 times for this model"
    with pytest.raises(ValueError, match=rf"none of the 8 images of idc can be used: .*{why}"):
        evaluate(EvaluationRequest(tmp_path / "large.safetensors", "idc", tmp_path / "idc", out=tmp_path / "out"))
    requests = (SetRequest("breakhis", tmp_path / "tissue"), SetRequest("idc", tmp_path / "idc"))
    with pytest.raises(ValueError, match=rf"BreaKHis can be used: .* none of the 8 images of IDC can be used: .*{why}"):
        compare_sets(ShiftRequest(tmp_path / "large.safetensors", *requests))
    assert capsys.readouterr().err == "", "no bar is left"


def test_a_failure_leaves_no_half_drawn_bar(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with progress_bar() as bar:
            bar.update(bar.add_task("evaluating", total=7), completed=3)
            raise ValueError("it went wrong")

    with pytest.raises(ValueError, match="it went wrong"):
        work()
    assert "3/7" not in capsys.readouterr().err.rpartition("\r")[2]
    with progress_bar() as bar:
        bar.update(bar.add_task("evaluating", total=7), completed=7)
    assert "7/7" in capsys.readouterr().err


def _steps(tmp_path: Path, scale: TrainedScale | None, target: SetRequest) -> dict[str, int]:
    at_several_magnifications(tmp_path / "tissue")
    small_checkpoint(tmp_path / "tiny.safetensors", replace(TINY_CARD, scale=scale))
    source = SetRequest("breakhis", tmp_path / "tissue", "100X")
    found = compare_sets(ShiftRequest(tmp_path / "tiny.safetensors", source, target))
    assert len(build_tables(found)) == 3
    return {step.name: step.images for step in found.steps if "scale" in step.name}


def test_a_shift_says_what_the_scale_does_for_a_network_that_has_one_and_for_one_that_has_none(tmp_path: Path) -> None:
    target = SetRequest("breakhis", tmp_path / "tissue", "200X")
    assert _steps(tmp_path, SCALE, target) == {"scale not used (images as they are)": 4}
    assert _steps(tmp_path, None, target) == {"scale matched as stated (images x 0.50)": 4}


def test_a_shift_to_images_of_unknown_scale_matches_their_structures(tmp_path: Path) -> None:
    lines = [
        f"{image.path.name},{image.malignancy},{image.patient_id}"
        for image in tissue_folder(tmp_path / "elsewhere", 4, 2, 96)
    ]
    (tmp_path / "elsewhere" / "labels.csv").write_text("\n".join(["file,label,patient_id", *lines]))
    (name,) = _steps(tmp_path, SCALE, SetRequest("folder", tmp_path / "elsewhere"))
    assert name.startswith("scale matched (images x ")


def test_figures_are_given_with_and_without_images_whose_patients_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path / "data"))
    root = bach_folder(tmp_path / "bach")
    names = [image.path.name for image in load_dataset("bach", root)]
    table = tmp_path / "table.csv"
    known = [name for number, name in enumerate(names) if number % 3]
    table.write_text("\n".join(f"{name},{number % 4}" for number, name in enumerate(known)))
    small_checkpoint(tmp_path / "tiny.safetensors", TINY_CARD)
    arguments = (tmp_path / "tiny.safetensors", "bach", [root])
    evaluate_command(*arguments, out=tmp_path / "out", maps=False, as_json=True, patients=table)  # type: ignore[arg-type]
    printed = capsys.readouterr()
    found = Evaluation.from_json(printed.out)
    whole, part = found.figure("accuracy"), found.figure(f"accuracy, {KNOWN_PATIENTS}")
    assert whole is not None
    assert part is not None
    assert (whole.n, part.n) == (len(names), len(known))
    assert any(
        f"the patients of {len(names) - len(known)} of {len(names)} images are unknown" in warning.words
        for warning in found.warnings
    )
