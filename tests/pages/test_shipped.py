"""The first start: the pages show what came with the checkpoint, and nothing of it is in the database."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.labels import BINARY
from db import store
from db.values.evaluations import EvaluatedImage
from tests.helpers.app_pages import forget_cached, visit, words_on
from tests.helpers.evaluations import add_evaluation, made_images
from tests.helpers.images.tissue import tissue_png
from tests.helpers.shipped import ship, with_hashes
from tests.helpers.world import World


def shipped_option(tab: AppTest) -> str:
    return next(option for option in tab.selectbox(key="evaluation-model").options if "shipped" in option)


def images_with(*pictures: tuple[int, bytes]) -> list[EvaluatedImage]:
    return with_hashes(made_images(BINARY), dict(pictures))


def open_images(tab: AppTest) -> AppTest:
    next(each for each in tab.button_group if each.label == "View").set_value("Images").run()
    assert not tab.exception, tab.exception
    return tab


def test_the_first_start_shows_the_evaluation_that_came_with_the_model(world: World) -> None:
    found = ship()
    tab = visit("evaluation.py")
    assert shipped_option(tab) == f"telltale {found.model_version} – shipped with the model"
    auc = found.figure("AUC")
    assert auc is not None
    assert f"**{auc.value:.3f}**" in str(tab.table[0].value["AUC"][0])
    assert "measured by its developers, not on this computer" in words_on(tab)
    words = words_on(open_images(tab))
    assert "all images (60)" in words
    assert words.count("image not included") == 12
    with world.sessions.read() as session:
        assert store.evaluations.evaluations(session, None) == []


def test_pictures_appear_when_the_folder_of_the_dataset_is_given(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = images_with((0, tissue_png(5)), (1, tissue_png(6)))
    for image, seed in zip(images[:2], (5, 6), strict=True):
        path = tmp_path / "datasets" / "breakhis" / image.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tissue_png(seed))
    monkeypatch.setenv("SECOND_READ_IMPORT_ROOT", str(tmp_path / "datasets"))
    forget_cached()
    ship(images)
    tab = open_images(visit("evaluation.py"))
    tab.selectbox(key="evaluation--1-patient").select(images[0].patient_id).run()
    shown = {image.position for image in images if image.patient_id == images[0].patient_id}
    assert len(tab.image) == len(shown & {0, 1}) > 0


def test_an_evaluation_of_this_computer_comes_before_the_shipped_one(world: World) -> None:
    found = ship()
    add_evaluation(world.sessions, found, made_images(BINARY))
    tab = visit("evaluation.py")
    options = tab.selectbox(key="evaluation-model").options
    assert ["shipped" in option for option in options] == [False, True]
    assert "measured by its developers" not in words_on(tab)
    beside = tab.selectbox(key="evaluation-beside")
    beside.select(beside.options[0]).run()
    words = words_on(tab)
    assert "on the same 60 images" in words
    assert "measured by its developers" in words


def test_a_shipped_picture_that_is_also_an_unread_case_tells_nothing(world: World) -> None:
    world.add_case(1)
    images = images_with((4, tissue_png(1)))
    ship(images)
    tab = visit("evaluation.py")
    assert "1 image left out, because cases that you have not finished contain the same pictures" in words_on(tab)
    words = words_on(open_images(tab))
    assert "all images (59)" in words
    assert images[4].name not in words
    table = next(each.value for each in visit("models.py").table if "AUC by image" in each.value)
    assert list(table["Images"]) == ["59 of 12 patients"]


def test_the_domain_shift_page_shows_the_comparison_that_came_with_the_model(world: World) -> None:
    ship()
    tab = visit("domain_shift.py")
    assert tab.selectbox(key="shift").options[0].endswith("shipped with the model")
    assert "images of here and of there clearly differ" in words_on(tab)
    with world.sessions.read() as session:
        assert store.evaluations.shifts(session) == []


def test_the_models_page_sums_up_what_came_with_the_model(world: World) -> None:
    found = ship()
    tab = visit("models.py")
    table = next(each.value for each in tab.table if "AUC by image" in each.value)
    auc = found.figure("AUC")
    assert auc is not None
    assert str(table["AUC by image"].iloc[0]).startswith(f"{auc.value:.3f} ")
    words = words_on(tab)
    assert "images of here and of there clearly differ" in words
    assert "Not shown" not in words


def test_what_belongs_to_another_version_is_said_on_models_and_shown_nowhere(world: World) -> None:
    ship(version="0" * 12)
    assert "No evaluation yet" in words_on(visit("evaluation.py"))
    assert "it was measured with version 000000000000" in words_on(visit("models.py"))
