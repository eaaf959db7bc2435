"""Which images are judged, and by which fold's network."""

from pathlib import Path

import pytest

from core.data.datasets import LabelledImage, list_breakhis
from core.statistics.cautions import Caution
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.runs.checkpoints import write_split
from training.evaluation.chosen_images import choose_images, relative_name

FIRST, SECOND = "SOB_B_F-14-1-100-001.png", "SOB_M_DC-14-2-100-001.png"


@pytest.fixture
def images(tmp_path: Path) -> list[LabelledImage]:
    """Eight images of four patients in tissue/."""
    return tissue_folder(tmp_path / "tissue")


def test_an_image_that_several_folds_held_out_is_judged_by_each(images: list[LabelledImage], tmp_path: Path) -> None:
    run = write_split(tmp_path / "run", {FIRST: "fold 2", SECOND: "train"})
    with (run / "split.csv").open("a") as file:
        file.write(f"{FIRST},1,fibroadenoma,fold 5\n")
    found = choose_images(images, (tmp_path / "tissue",), "out-of-fold", run)
    assert [(one.image.path.name, one.fold) for one in found.images] == [(FIRST, 2), (FIRST, 5)]
    assert [side for _, side in found.sides] == ["fold 2", "train", "fold 5"]


def test_official_folds_may_come_from_their_lists(images: list[LabelledImage], tmp_path: Path) -> None:
    for fold, tested in ((1, ("-14-1-", "-14-2-")), (2, ("-14-2-", "-14-3-"))):
        sides = [(i.path.name, "test" if any(t in i.path.name for t in tested) else "train") for i in images]
        text = "".join(f"{name}|100|{fold}|{side}\n" for name, side in sides)
        (tmp_path / f"dsfold{fold}.txt").write_text(text)
    found = choose_images(images, (tmp_path / "tissue",), "out-of-fold", None, tmp_path)
    of_patients = {(one.image.patient_id, one.fold) for one in found.images}
    assert of_patients == {("1", 1), ("2", 1), ("2", 2), ("3", 2)}
    assert len(found.images) == 8
    assert [one.fold for one in found.images] == [1] * 4 + [2] * 4


def test_images_are_found_again_where_the_folder_moved(images: list[LabelledImage], tmp_path: Path) -> None:
    run = write_split(tmp_path / "run", {f"elsewhere/{FIRST}": "test", SECOND: "train"})
    (found,) = choose_images(images, (tmp_path / "tissue",), "test", run).images
    assert found.image.path.name == FIRST


def test_a_name_that_two_images_bear_names_neither(images: list[LabelledImage], tmp_path: Path) -> None:
    (tmp_path / "tissue" / "copy").mkdir()
    (tmp_path / "tissue" / "copy" / FIRST).write_bytes(b"")
    both = list_breakhis(tmp_path / "tissue")
    run = write_split(tmp_path / "run", {f"elsewhere/{FIRST}": "test", SECOND: "test"})
    found = choose_images(both, (tmp_path / "tissue",), "test", run)
    assert [one.image.path.name for one in found.images] == [SECOND]
    assert found.warnings == (Caution("images missing", "1 of 2 test images of the run are not in this folder"),)
    with pytest.raises(ValueError, match="none of the 1 test images"):
        choose_images(
            both, (tmp_path / "tissue",), "test", write_split(tmp_path / "other", {f"elsewhere/{FIRST}": "test"})
        )


def test_two_names_of_one_image_are_refused(images: list[LabelledImage], tmp_path: Path) -> None:
    run = write_split(tmp_path / "run", {FIRST: "train", f"./{FIRST}": "test", SECOND: "test"})
    with pytest.raises(ValueError, match=rf"lead to one file, {FIRST}: {FIRST} and \./{FIRST}"):
        choose_images(images, (tmp_path / "tissue",), "test", run)


def test_a_side_is_read_as_people_type_it(images: list[LabelledImage], tmp_path: Path) -> None:
    run = write_split(tmp_path / "run", {FIRST: "Test ", SECOND: "TEST"})
    assert len(choose_images(images, (tmp_path / "tissue",), "test", run).images) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot read the run's split"), ("a,b\n1,2\n", "has no column"), ("", "has no test images")],
)
def test_a_split_that_cannot_be_read_is_an_error(
    images: list[LabelledImage], tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "split.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        choose_images(images, (tmp_path / "tissue",), "test", tmp_path)


def test_an_image_is_named_by_its_place_below_the_folder(images: list[LabelledImage], tmp_path: Path) -> None:
    assert relative_name(images[0], tmp_path) == f"tissue/{FIRST}"
    assert relative_name(images[0], tmp_path / "elsewhere") == images[0].path.as_posix()
