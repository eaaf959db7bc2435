"""`python -m training.shift` from two folders to distances, steps, file and row."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer

from core.card import Card, InputPolicy
from core.imaging.decode import decode_image
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.pipeline import analyse, cut_normalised_patches
from core.statistics.compare_sets import MeasuredSet
from core.statistics.evaluation import ScopeCounts
from core.statistics.predictions import BinaryPredictions
from core.statistics.shift import Shift
from core.statistics.tissue_statistics import STATISTICS, measure_tissue
from db import store
from db.database import open_database
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.networks import small_checkpoint
from tests.helpers.runs.checkpoints import TINY_CARD, bach_folder
from tests.helpers.scopes import FixedScope
from training.evaluation.usable_images import refuse_unusable
from training.shift import ShiftRequest, compare_sets, run
from training.shifts.sets import AnalysedSet, ChosenSet, SetRequest, analyse_set, choose_sets
from training.shifts.steps import measure_drop, scope_table

PATIENTS, EACH = 4, 3


def other_laboratory(folder: Path, side: int = 48, enlarged: int = 1, darker: int = 40) -> Path:
    """Write tissue of other patients, darker and perhaps enlarged, as a folder with a table."""
    lines = ["file,label,patient_id"]
    for image in tissue_folder(folder, PATIENTS, EACH, side):
        pixels = cv2.imread(str(image.path))
        assert pixels is not None
        large = np.repeat(np.repeat(pixels, enlarged, axis=0), enlarged, axis=1)
        cv2.imwrite(str(image.path), np.clip(large.astype(int) - darker, 0, 255).astype(np.uint8))
        lines.append(f"{image.path.name},{image.malignancy},{image.patient_id}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def checkpoint(folder: Path, card: Card = TINY_CARD) -> Path:
    small_checkpoint(folder / "tiny.safetensors", card)
    return folder / "tiny.safetensors"


def request(folder: Path, target: SetRequest, card: Card = TINY_CARD, side: int = 48) -> ShiftRequest:
    tissue_folder(folder / "tissue", PATIENTS, EACH, side)
    return ShiftRequest(checkpoint(folder, card), SetRequest("breakhis", folder / "tissue"), target)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the command has compared two sets once."""
    folder = tmp_path_factory.mktemp("shift")
    tissue_folder(folder / "tissue", PATIENTS, EACH)
    other_laboratory(folder / "elsewhere")
    (folder / "tissue" / "SOB_B_F-14-3-100-077.png").write_bytes(b"\x89PNG\r\n\x1a\nthe rest is lost")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECOND_READ_DATA", str(folder / "data"))
        with pytest.raises(typer.Exit) as ended:
            run(
                checkpoint(folder),
                [f"breakhis={folder / 'tissue'}"],
                [f"folder={folder / 'elsewhere'}"],
                source_magnification="100X",
                out=folder / "shifts",
            )
    assert ended.value.exit_code == 1  # one image was left out
    return folder


@pytest.fixture(scope="module")
def found(ran: Path) -> Shift:
    (written,) = (ran / "shifts").glob("*/shift.json")
    return Shift.from_json(written.read_text())


def test_file_and_row_hold_the_comparison(ran: Path, found: Shift) -> None:
    with open_database(f"sqlite:///{ran / 'data' / 'second_read.sqlite'}").read() as session:
        (row,) = store.evaluations.shifts(session)
    assert (row.source, row.target) == (found.source, found.target) == ("BreaKHis 100X", "folder elsewhere")
    assert Shift.from_json(row.document) == found
    assert row.model_version == found.model_version


def test_images_count_by_patient_and_the_unreadable_one_is_left_out_with_its_reason(found: Shift) -> None:
    assert (found.images, found.patients) == ((12, 12), (4, 4))
    (warning,) = (caution.words for caution in found.warnings if "left out" in caution.words)
    assert warning.startswith("1 of 13 images of BreaKHis 100X were left out: ")
    assert "SOB_B_F-14-3-100-077.png" in warning


def test_the_same_number_in_another_laboratory_is_someone_else(found: Shift) -> None:
    assert len({point.patient_id for point in found.points}) == 8
    assert not any("both sets" in warning.words for warning in found.warnings)


def test_what_the_network_was_trained_on_is_said(found: Shift) -> None:
    assert found.trained_on == (1, 0)
    assert any("trained on 1 of 4 patients of BreaKHis 100X" in warning.words for warning in found.warnings)


def test_few_patients_are_said_to_be_few(found: Shift) -> None:
    assert sum("only 4 patients" in warning.words for warning in found.warnings) == 2


def test_steps_change_one_thing_each_and_the_card_s_own_way_comes_first(found: Shift) -> None:
    names = [step.name for step in found.steps]
    assert names[:4] == [
        "as the card says: eight views (TTA), no stain normalisation",
        "one view only (no TTA)",
        "Reinhard",
        "Macenko",
    ]
    assert names[4:-1] in ([], ["quality control on"])
    assert names[-1].startswith("scale matched (images x ")
    assert [step.change is None for step in found.steps] == [True] + [False] * (len(names) - 1)
    own = found.steps[0].auc.value
    for step in found.steps[1:]:
        if step.images == 12:
            assert step.change is not None
            assert step.auc.value - own == pytest.approx(step.change.value)


def test_the_drop_is_the_source_s_auc_less_the_target_s(found: Shift) -> None:
    assert found.source_auc is not None
    assert found.drop is not None
    assert found.drop.value == pytest.approx(found.source_auc.value - found.steps[0].auc.value)


def test_the_tables_say_all_of_it(
    ran: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_DATA", str(ran / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    places = [f"breakhis={ran / 'tissue'}"], [f"folder={ran / 'elsewhere'}"]
    with pytest.raises(typer.Exit):
        run(ran / "tiny.safetensors", *places, most=2, out=ran / "again")
    printed = capsys.readouterr()
    for words in ("Frechet distance", "told apart with AUC", "size of dark structures", "Macenko", "Drop of AUC"):
        assert words in printed.out
    assert "8 of 12 images of folder elsewhere were sampled" in printed.err
    assert "source (has training patients)" in printed.out


def test_features_are_the_mean_of_what_the_head_sees_and_statistics_those_of_the_image_as_it_is(tmp_path: Path) -> None:
    images = tissue_folder(tmp_path / "tissue", PATIENTS, EACH, 80)
    other = other_laboratory(tmp_path / "elsewhere")
    chosen, _ = choose_sets(SetRequest("breakhis", tmp_path / "tissue"), SetRequest("folder", other))
    card = replace(TINY_CARD, input_policy=InputPolicy("patches", input_side=32, patch_side=48, stride=24))
    classifier = load_classifier(checkpoint(tmp_path, card))
    seen = analyse_set(chosen, classifier)
    data = images[5].path.read_bytes()
    pixels = decode_image(data).pixels
    patches = cut_normalised_patches(pixels, classifier).patches
    assert len(patches) > 2
    np.testing.assert_allclose(seen.measured.features[5], classifier.embed(patches).mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(seen.measured.statistics[5], measure_tissue(pixels))
    prediction = analyse(data, classifier).prediction
    assert prediction is not None
    assert seen.judged.probabilities[5] == prediction.malignant_probability


@pytest.mark.slow
def test_images_of_half_the_scale_are_enlarged_before_they_are_judged_again(tmp_path: Path) -> None:
    large = other_laboratory(tmp_path / "large", 64, enlarged=2, darker=0)
    tissue_folder(tmp_path / "small", PATIENTS, EACH, 96)
    names = (SetRequest("folder", large), SetRequest("breakhis", tmp_path / "small"))
    step = compare_sets(ShiftRequest(checkpoint(tmp_path), *names)).steps[-1]
    assert step.name.startswith("scale matched (images x ")
    factor = float(step.name.rpartition("x ")[2].rstrip(")"))
    assert factor == pytest.approx(2, rel=0.35)


def test_a_network_that_sees_the_whole_image_in_one_square_has_no_scale_to_match(tmp_path: Path) -> None:
    card = replace(TINY_CARD, input_policy=InputPolicy("resize", input_side=32))
    found = compare_sets(request(tmp_path, SetRequest("folder", other_laboratory(tmp_path / "elsewhere")), card))
    assert not any("scale matched" in step.name for step in found.steps)
    assert any("resizes every image to the same square" in warning.words for warning in found.warnings)


def test_images_too_small_for_the_network_are_a_clear_message(tmp_path: Path) -> None:
    small = other_laboratory(tmp_path / "small", 40)
    card = replace(TINY_CARD, input_policy=InputPolicy("patches", input_side=32, patch_side=96, stride=96))
    with pytest.raises(
        ValueError, match="none of the 12 images of folder small can be used: a 48 x 40 image is smaller"
    ):
        compare_sets(request(tmp_path, SetRequest("folder", small), card, side=96))


@pytest.mark.parametrize("too_small", ["source", "target"])
def test_a_set_that_the_network_cannot_take_is_refused_before_any_image_is_analysed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, too_small: str
) -> None:
    card = replace(TINY_CARD, input_policy=InputPolicy("patches", input_side=32, patch_side=96, stride=96))
    sides = {"source": 96, "target": 96} | {too_small: 40}
    target = SetRequest("folder", other_laboratory(tmp_path / "elsewhere", sides["target"]))
    wanted = request(tmp_path, target, card, side=sides["source"])
    monkeypatch.setattr(Classifier, "classify", lambda *_: pytest.fail("an image was classified"))
    with pytest.raises(ValueError, match="none of the 12 images"):
        compare_sets(wanted)
    assert "0/" not in capsys.readouterr().err, "no bar stays on the screen"


def test_one_image_that_is_large_enough_is_enough_to_begin(tmp_path: Path) -> None:
    tissue = tissue_folder(tmp_path / "tissue", PATIENTS, EACH, 40)
    card = replace(TINY_CARD, input_policy=InputPolicy("patches", input_side=32, patch_side=96, stride=96))
    images = tuple(tissue)
    few = ChosenSet("tissue", "breakhis", images, tuple(image.patient_id for image in images), len(images))
    with pytest.raises(ValueError, match="none of the 12 images of tissue can be used: a 48 x 40 image is smaller"):
        refuse_unusable(few.name, few.images, card)
    assert cv2.imwrite(str(images[7].path), np.full((96, 96, 3), 200, np.uint8))
    refuse_unusable(few.name, few.images, card)


def test_every_bar_of_progress_ends_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = other_laboratory(tmp_path / "elsewhere")
    (folder / "unreadable.png").write_bytes(b"\x89PNG\r\n\x1a\nthe rest is lost")
    with (folder / "labels.csv").open("a") as table:
        table.write("unreadable.png,benign,1\n")
    card = replace(TINY_CARD, input_policy=InputPolicy("resize", input_side=32))  # whose scale is not matched
    compare_sets(request(tmp_path, SetRequest("folder", folder), card))
    counts = re.findall(r"(\d+)/(\d+)", capsys.readouterr().err)
    assert {done for done, _ in counts[-3:]} == {"12", "13"}
    assert all(done == of for done, of in counts[-3:])


def test_a_set_of_one_malignancy_has_distances_and_no_steps(tmp_path: Path) -> None:
    folder = other_laboratory(tmp_path / "elsewhere")
    table = (folder / "labels.csv").read_text().replace(",malignant,", ",benign,")
    (folder / "labels.csv").write_text(table)
    found = compare_sets(request(tmp_path, SetRequest("folder", folder)))
    assert len(found.distances) == 3
    assert (found.steps, found.drop) == ((), None)
    assert found.source_auc is not None
    assert any("the effect of preparation steps cannot be measured" in warning.words for warning in found.warnings)


def test_patients_that_nobody_wrote_down_are_a_caution(tmp_path: Path) -> None:
    found = compare_sets(request(tmp_path, SetRequest("bach", bach_folder(tmp_path / "bach"))))
    assert any("the patients of BACH are unknown" in warning.words for warning in found.warnings)
    assert found.patients == (4, 12)


def test_the_same_patients_in_two_magnifications_are_the_same_people(tmp_path: Path) -> None:
    for image in tissue_folder(tmp_path / "tissue", PATIENTS, 2 * EACH):
        if int(image.path.stem[-3:]) > EACH:
            image.path.rename(image.path.with_name(image.path.name.replace("-100-", "-40-")))
    root = tmp_path / "tissue"
    found = compare_sets(
        ShiftRequest(checkpoint(tmp_path), SetRequest("breakhis", root, "100X"), SetRequest("breakhis", root, "40X"))
    )
    assert any("both sets have 4 patients in common" in warning.words for warning in found.warnings)
    assert {point.patient_id for point in found.points} == {f"BreaKHis {number}" for number in range(1, 5)}


def refusal(capsys: pytest.CaptureFixture[str], folder: Path, source: str, target: str, at: str | None = None) -> str:
    with pytest.raises(typer.Exit) as stopped:
        run(checkpoint(folder), [source], [target], at, out=folder / "out", database=f"sqlite:///{folder / 'a.sqlite'}")
    assert stopped.value.exit_code == 2
    assert not (folder / "out").exists()
    return capsys.readouterr().err


def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tissue = f"breakhis={tissue_folder(tmp_path / 'a' / 'tissue', PATIENTS, EACH)[0].path.parent}"
    few = f"breakhis={tissue_folder(tmp_path / 'few', 3, EACH)[0].path.parent}"
    assert "have images in common" in refusal(capsys, tmp_path, tissue, tissue)
    assert "BreaKHis has images of 3 patients, but at least 4 are needed" in refusal(capsys, tmp_path, few, tissue)
    assert "has no images at 400X; available: 100X" in refusal(capsys, tmp_path, tissue, few, "400X")
    assert "NAME one of breakhis, bach, idc, folder, not 'camelyon=x'" in refusal(
        capsys, tmp_path, tissue, "camelyon=x"
    )
    assert "there is no folder" in refusal(capsys, tmp_path, tissue, f"bach={tmp_path / 'nowhere'}")


def test_a_set_may_lie_in_several_folders(tmp_path: Path) -> None:
    images = tissue_folder(tmp_path / "one", PATIENTS, EACH)
    (tmp_path / "two").mkdir()
    for image in images[::2]:
        image.path.rename(tmp_path / "two" / image.path.name)
    asked = [f"breakhis={tmp_path / name}" for name in ("one", "two")]
    source, _ = choose_sets(
        SetRequest.of(asked, None, 50), SetRequest("folder", other_laboratory(tmp_path / "elsewhere"))
    )
    assert source.found == len(source.images) == len(images)
    assert {image.path.parent.name for image in source.images} == {"one", "two"}
    assert source.name == "BreaKHis"
    own = [f"folder={other_laboratory(tmp_path / name)}" for name in ("here", "there")]
    _, target = choose_sets(SetRequest.of(asked, None, 50), SetRequest.of(own, None, 50))
    assert (target.name, target.found) == ("folder here, folder there", 2 * len(images))
    with pytest.raises(ValueError, match="breakhis and bach cannot be mixed"):
        SetRequest.of([asked[0], "bach=x"], None, 50)


def test_two_copies_of_a_dataset_are_named_by_their_folders(tmp_path: Path) -> None:
    for name in ("a/one", "b/one", "b/two"):
        tissue_folder(tmp_path / name, PATIENTS, EACH)
    wishes = [SetRequest("breakhis", tmp_path / name) for name in ("a/one", "b/one", "b/two")]
    first, second = choose_sets(wishes[0], wishes[2])
    assert (first.name, second.name) == ("BreaKHis in one", "BreaKHis in two")
    with pytest.raises(ValueError, match="rename a folder"):
        choose_sets(wishes[0], wishes[1])


def seen(name: str, probabilities: list[float]) -> AnalysedSet:
    """Four patients of five images each, every other one malignant."""
    patients = np.repeat([f"{name} {number}" for number in range(4)], 5)
    malignant = np.repeat([False, True, False, True], 5)
    measured = MeasuredSet(name, np.zeros((20, 2)), np.zeros((20, len(STATISTICS))), patients)
    return AnalysedSet(measured, BinaryPredictions(malignant, np.array(probabilities), patients), "folder", (), ())


def test_a_drop_from_certainty_to_guessing_is_one_half() -> None:
    certain = seen("here", [0.1] * 5 + [0.9] * 5 + [0.2] * 5 + [0.8] * 5)
    guessing = seen("there", [0.1, 0.3, 0.5, 0.7, 0.9] * 4)
    drop = measure_drop(certain, guessing)
    assert drop is not None
    assert drop.value == pytest.approx(0.5)


def test_a_set_compared_with_itself_drops_by_nothing_in_every_resample() -> None:
    rng = np.random.default_rng(0)
    same = seen("here", list(rng.uniform(0, 1, 20)))
    drop = measure_drop(same, same)
    assert drop is not None
    assert (drop.value, drop.low, drop.high) == (0, None, None)


def test_images_out_of_scope_are_compared_and_counted(tmp_path: Path) -> None:
    tissue_folder(tmp_path / "tissue", PATIENTS, EACH, 48)
    other = other_laboratory(tmp_path / "elsewhere")
    chosen, _ = choose_sets(SetRequest("breakhis", tmp_path / "tissue"), SetRequest("folder", other))
    classifier = load_classifier(checkpoint(tmp_path))
    plain = analyse_set(chosen, classifier)
    scoped = analyse_set(chosen, classifier.with_scope(FixedScope(0.5, 1.5, 2.5)))  # type: ignore[arg-type]
    assert plain.scope is None
    assert scoped.scope == ScopeCounts(4, 4, 4)
    np.testing.assert_array_equal(scoped.judged.probabilities, plain.judged.probabilities)
    np.testing.assert_array_equal(scoped.measured.features, plain.measured.features)


def test_the_scope_of_both_sets_is_in_the_tables() -> None:
    shift = Shift("a", "b", "m", "v", (3, 3), (3, 3), (), (), (), (0.5, 0.3), scope=(ScopeCounts(3, 0, 0), None))
    table = scope_table(shift)
    assert [list(column.cells) for column in table.columns] == [["a"], ["3"], ["100.0%"], ["0.0%"], ["0.0%"]]
    assert Shift.from_json(shift.to_json()) == shift
