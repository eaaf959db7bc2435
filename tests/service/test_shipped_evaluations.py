"""Evaluations that come with a checkpoint: which are read, and that they answer as those of a database do."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.card import checkpoint_sha256, model_version
from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_png
from core.labels import BINARY, BREAKHIS, LabelSet
from core.settings import Settings
from core.statistics.evaluation import Evaluation
from db.values.evaluations import ImageFilter, shipped_folder
from service.shipped_evaluations import Shipped, find_picture, read_map_trust, read_shipped
from service.visible_evaluations import VisibleEvaluations
from tests.helpers.evaluations import add_evaluation, made_images
from tests.helpers.images.tissue import tissue_png
from tests.helpers.shipped import ship, with_hashes
from tests.helpers.world import CARD, World, open_world, write_card

STARTER = Settings.from_environment().checkpoint
_MOST_BYTES = 600_000


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty installation whose checkpoint has a folder beside it."""
    write_card(tmp_path / "telltale.safetensors", CARD)
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", str(tmp_path / "telltale.safetensors"))
    with open_world(tmp_path / "data") as made:
        yield made


def shipped() -> Shipped:
    checkpoint = Settings.from_environment().checkpoint
    return read_shipped(checkpoint, model_version(checkpoint_sha256(checkpoint)))


@pytest.mark.parametrize("label_set", [BINARY, BREAKHIS], ids=lambda labels: str(labels.name))
def test_a_shipped_evaluation_answers_as_a_stored_one_does(world: World, label_set: LabelSet) -> None:
    images = with_hashes(made_images(label_set))
    evaluation = ship(images, label_set)
    add_evaluation(world.sessions, evaluation, images)
    both = VisibleEvaluations(world.sessions, world.reader, shipped())
    stored, own = both.rows()
    assert (stored.shipped, own.shipped) == (False, True)
    assert (own.dataset, own.split, own.images, own.document) == (
        *(stored.dataset, stored.split, stored.images),
        stored.document,
    )
    patient, magnification = images[0].patient_id, images[0].magnification
    for chosen in (
        None,
        ImageFilter(malignant=True, called_malignant=False),
        ImageFilter(patient_id=patient, magnification=magnification),
        ImageFilter(label=images[0].label, predicted=images[0].predicted),
    ):
        assert both.images(own, chosen, limit=7, offset=3) == both.images(stored, chosen, limit=7, offset=3)
        assert both.count(own, chosen or ImageFilter()) == both.count(stored, chosen or ImageFilter())
    assert both.all_images(own) == both.all_images(stored)


@pytest.mark.parametrize("seen_as", ["file", "pixels"])
def test_a_picture_that_a_reader_has_yet_to_read_blind_is_hidden_in_both(world: World, seen_as: str) -> None:
    world.add_case(1)
    images = with_hashes(made_images(BINARY), {4: tissue_png(1)} if seen_as == "file" else {})
    if seen_as == "pixels":
        pixels = encode_png(decode_image(tissue_png(1)).pixels)
        images[4] = replace(images[4], file_sha256=hashlib.sha256(pixels).hexdigest())
    add_evaluation(world.sessions, ship(images), images)
    both = VisibleEvaluations(world.sessions, world.reader, shipped())
    stored, own = both.rows()
    assert both.hidden(own) == both.hidden(stored)
    hidden = both.hidden(own)
    assert hidden is not None
    assert hidden.positions == (4,)
    assert 4 not in {image.position for image in both.all_images(own)}
    assert both.count(own, ImageFilter()) == len(images) - 1
    program = VisibleEvaluations(world.sessions, None, shipped())
    assert program.hidden(own) is None
    assert program.overlap(own) == program.overlap(stored)
    assert (program.overlap(own).images, program.overlap(own).cases) == (1, 1)


def test_an_image_without_hashes_is_hidden_while_there_are_cases_to_finish(world: World) -> None:
    world.add_case(1)
    images = with_hashes(made_images(BINARY))
    images[2] = replace(images[2], source_sha256=None, file_sha256=None)
    ship(images)
    reader = VisibleEvaluations(world.sessions, world.reader, shipped())
    hidden = reader.hidden(reader.rows()[0])
    assert hidden is not None
    assert (hidden.positions, hidden.without_hashes) == ((2,), True)


def test_what_was_measured_with_another_version_is_not_shown_and_the_reason_is_told(world: World) -> None:
    ship(version="0" * 12)
    found = shipped()
    assert (found.evaluations, found.shifts) == ((), ())
    assert len(found.problems) == 2
    assert "measured with version 000000000000 of the model" in found.problems[0]


def test_a_damaged_file_is_told_and_the_rest_is_shown(world: World) -> None:
    ship()
    (shipped_folder(Settings.from_environment().checkpoint) / "breakhis" / "images.json").write_text("[{}]")
    found = shipped()
    assert len(found.shifts) == 1
    assert found.evaluations == ()
    assert found.problems[0].startswith("telltale.evaluations/breakhis: not a list of evaluated images")


def test_a_picture_is_found_in_the_folder_of_the_dataset_or_in_the_folder_around_it(tmp_path: Path) -> None:
    data = tissue_png(1)
    image = with_hashes(made_images(BINARY), {0: data})[0]
    path = tmp_path / "datasets" / "breakhis" / image.name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    for root in (tmp_path / "datasets", tmp_path / "datasets" / "breakhis"):
        found = find_picture(image, root)
        assert found is not None
        assert found.thumbnail is not None
    path.write_bytes(tissue_png(2))
    assert find_picture(image, tmp_path / "datasets") is None, "another picture of the same name is not the one"
    assert find_picture(image, tmp_path / "no such folder") is None


def test_a_name_that_leads_out_of_the_folder_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(tissue_png(1))
    (tmp_path / "datasets").mkdir()
    digest = hashlib.sha256(tissue_png(1)).hexdigest()
    image = replace(made_images(BINARY)[0], name="../secret.png", source_sha256=digest)
    assert find_picture(image, tmp_path / "datasets") is None


@pytest.mark.skipif(not STARTER.is_file(), reason="the starter checkpoint is not here")
def test_the_starter_comes_with_evaluations_of_its_own_version(tmp_path: Path) -> None:
    found = read_shipped(STARTER, model_version(checkpoint_sha256(STARTER)))
    assert found.problems == ()
    out_of_fold = next(one for one in found.evaluations if one.row.split == "out-of-fold")
    assert out_of_fold.row.dataset == "breakhis"
    assert Evaluation.from_json(out_of_fold.row.document).figures
    assert {row.target for row in found.shifts} == {"BreaKHis 400X", "folder ucsb"}
    for one in found.evaluations:
        assert len(one.images) == Evaluation.from_json(one.row.document).images
        assert all(image.source_sha256 and image.file_sha256 for image in one.images)
        assert not any(image.preview_sha256 or image.heatmap_sha256 for image in one.images)
    maps = read_map_trust(STARTER, model_version(checkpoint_sha256(STARTER)), tmp_path)
    assert maps.problems == ()
    assert maps.trust is not None
    assert maps.trust.images >= maps.trust.patients == maps.trust.trained_on
    files = [path for path in shipped_folder(STARTER).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < _MOST_BYTES
