"""The page of evaluations tells a reader nothing of a picture that they have yet to read blind."""

import csv
import hashlib
import io
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_png
from core.labels import BINARY, BREAKHIS, LabelSet
from core.statistics.evaluation import Evaluation
from db import store
from db.values.evaluations import EvaluatedImage
from db.values.reading import Opinion
from pages.ui.evaluation.choices import StoredEvaluation
from pages.ui.evaluation.tables import _predictions
from service.evaluation_for_reader import evaluate_images
from service.visible_evaluations import VisibleEvaluations
from tests.helpers.app_pages import visit, words_on
from tests.helpers.evaluations import add_evaluation, made_evaluation, made_images
from tests.helpers.images.tissue import tissue_png
from tests.helpers.rows import OPENED, sha256_of
from tests.helpers.world import World

HIDDEN = 17  # the position of the picture that is also an unread case


def _known_by(image: EvaluatedImage, how: str) -> EvaluatedImage:
    """Give an evaluated image the hashes of the picture of the case, or others."""
    pixels = hashlib.sha256(encode_png(decode_image(tissue_png(1)).pixels)).hexdigest()
    source = hashlib.sha256(tissue_png(1)).hexdigest()
    other = sha256_of(f"evaluated {image.position}")
    is_case = image.position == HIDDEN
    return replace(
        image,
        source_sha256=source if is_case and how == "file" else other,
        file_sha256=pixels if is_case and how == "pixels" else other,
    )


def _store(world: World, label_set: LabelSet = BREAKHIS, how: str = "file") -> list[EvaluatedImage]:
    images = [_known_by(image, how) for image in made_images(label_set, world.files)]
    add_evaluation(world.sessions, made_evaluation(label_set), images)
    return images


def _turn_to(tab: AppTest, view: str) -> AppTest:
    next(each for each in tab.button_group if each.label == "View").set_value(view).run()
    assert not tab.exception, tab.exception
    return tab


def _finish(world: World, case_id: int) -> None:
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, case_id, world.reader, Opinion("benign", 3), OPENED)
        store.reads.record_final_read(session, case_id, world.reader, Opinion("malignant", 3), OPENED)


@pytest.mark.parametrize("how", ["file", "pixels"])
def test_label_and_probability_of_the_picture_are_on_no_view_before_the_last_word(world: World, how: str) -> None:
    case_id = world.add_case(1)
    world.analyse()
    images = _store(world, how=how)
    hidden = images[HIDDEN]
    tab = visit("evaluation.py")
    assert "1 image left out, because cases that you have not finished contain the same pictures" in words_on(tab)
    for view in ("Curves", "Images", "Patients", "Groups"):
        words = words_on(_turn_to(tab, view))
        for telltale in (hidden.name, f"{hidden.malignant_probability:.3f}", str(hidden.preview_sha256)):
            assert telltale not in words, (view, telltale)
    assert f"all images ({len(images) - 1})" in words_on(_turn_to(tab, "Images"))
    _finish(world, case_id)
    words = words_on(_turn_to(visit("evaluation.py"), "Images"))
    assert "contain the same pictures" not in words
    assert f"all images ({len(images)})" in words


def test_every_figure_is_that_of_the_other_images_so_that_no_difference_tells(world: World) -> None:
    world.add_case(1)
    images = _store(world, BINARY)
    others = [image for image in images if image.position != HIDDEN]
    wanted = evaluate_images(others, made_evaluation(BINARY))
    headline = words_on(visit("evaluation.py"))
    auc = wanted.figure("AUC")
    assert auc is not None
    assert f"{auc.value:.3f}" in headline
    assert f"{wanted.images:,} images of {wanted.patients:,} patients" in headline


@pytest.mark.parametrize("label_set", [BINARY, BREAKHIS], ids=lambda labels: str(labels.name))
def test_measured_with_all_images_it_is_the_evaluation_that_was_stored(label_set: LabelSet) -> None:
    stored = made_evaluation(label_set)
    again = evaluate_images(made_images(label_set)[::-1], stored)
    assert _without_ablation(again) == _without_ablation(stored)


def _without_ablation(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, ablation=(), abstention=None)


def test_the_csv_of_predictions_leaves_it_out_too(world: World) -> None:
    case_id = world.add_case(1)
    world.analyse()
    images = _store(world, BINARY)
    stored = _stored(world)

    def files() -> set[str]:
        text = _predictions(stored, VisibleEvaluations(world.sessions, world.reader)).data.decode("utf-8-sig")
        return {row["file"] for row in csv.DictReader(io.StringIO(text))}

    visit("evaluation.py")
    assert files() == {image.name for image in images} - {images[HIDDEN].name}
    _finish(world, case_id)
    assert files() == {image.name for image in images}


def _stored(world: World) -> StoredEvaluation:
    with world.sessions.read() as session:
        row = store.evaluations.evaluation(session, world.reader, 1)
    assert row is not None
    return StoredEvaluation(row, made_evaluation(BINARY))


def test_an_older_evaluation_shows_its_figures_and_neither_images_nor_patients(world: World) -> None:
    world.add_case(1)
    add_evaluation(world.sessions, made_evaluation(BINARY), made_images(BINARY, world.files))
    tab = visit("evaluation.py")
    words = words_on(tab)
    assert "this evaluation was made by an older version and does not record which images it contains" in words
    assert f"{made_evaluation(BINARY).figures[0].value:.3f}"[:3] in words
    assert "No images match" in words_on(_turn_to(tab, "Images"))
    assert "of 0 patients" in words_on(_turn_to(tab, "Patients"))


def test_an_evaluation_of_nothing_but_unread_pictures_is_not_shown(world: World) -> None:
    world.add_case(1)
    image = next(image for image in made_images(BINARY) if image.position == HIDDEN)
    add_evaluation(world.sessions, made_evaluation(BINARY), [_known_by(image, "file")])
    words = words_on(visit("evaluation.py"))
    assert "all images of this evaluation are in cases that you have not finished" in words
    assert "AUC" not in words


def test_two_evaluations_are_compared_without_it(world: World) -> None:
    world.add_case(1)
    images = _store(world, BINARY)
    _store(world, BINARY)
    tab = visit("evaluation.py")
    box = next(box for box in tab.selectbox if box.label == "Compare with")
    box.select(box.options[0]).run()
    assert not tab.exception, tab.exception
    assert f"on the same {len(images) - 1:,} images" in words_on(tab)


def test_the_administrator_is_warned_of_the_overlap(world: World) -> None:
    _store(world)
    assert "This evaluation shares" not in words_on(visit("evaluation.py"))
    world.add_case(1)
    words = words_on(visit("evaluation.py"))
    assert "This evaluation shares 1 image with 1 case." in words
