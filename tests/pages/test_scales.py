"""The scale of images on the pages: where it comes from, how it is set, and until when."""

import io
import json
from dataclasses import replace

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.card import TrainedScale
from core.imaging.scale import Scale
from db import store
from db.values.accounts import Role
from db.values.jobs import JobState
from db.values.reading import ImageRow
from db.values.scales import ChosenScale
from pages.ui.viewer import KnownLength, parse_known_length
from service.scales import record_scale
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.images.tissue import tissue_png
from tests.helpers.rows import BENIGN
from tests.helpers.world import CARD, World, add_person

PNG, TIFF = "image/png", "image/tiff"


def tiff(seed: int, pixels_per_cm: int = 40_000) -> bytes:
    """Make a TIFF whose tags say how many pixels are a centimetre."""
    file = io.BytesIO()
    image = Image.open(io.BytesIO(tissue_png(seed)))
    image.save(file, "TIFF", resolution_unit=3, x_resolution=pixels_per_cm, y_resolution=pixels_per_cm)
    return file.getvalue()


def images(world: World, case_id: int = 1) -> list[ImageRow]:
    with world.sessions.read() as session:
        return list(store.open_case.case_images(session, case_id))


def scales(world: World, case_id: int = 1) -> list[str]:
    return [str(image.scale) for image in images(world, case_id)]


def upload(tab: AppTest, *files: tuple[str, bytes, str]) -> AppTest:
    tab.file_uploader[0].set_value(list(files))
    return press(tab, "Store images")


def type_scale(tab: AppTest, key: str, words: str) -> None:
    """Type into the field of a scale, which takes more than its options; the test tab knows only these."""
    field = tab.selectbox(key=key)
    field.options.append(words)
    field.set_value(words)


def add_objective(world: World, by: int) -> None:
    with world.sessions.begin() as session:
        store.scales.set_objective(session, by, "BX_51", "10x", 0.2)


def test_an_upload_shows_where_the_scale_of_each_image_comes_from(world: World) -> None:
    tab = upload(visit("upload_cases.py"), ("a.tif", tiff(1), TIFF), ("b.png", tissue_png(2), PNG))
    assert list(tab.table[0].value["Scale"]) == ["0.25 µm per pixel, from the TIFF's tags", "unknown"]


def test_a_scale_that_is_typed_counts_for_the_images_whose_files_state_none(world: World) -> None:
    tab = visit("upload_cases.py")
    type_scale(tab, "upload-scale", "0,5 µm")
    upload(tab, ("a.tif", tiff(1), TIFF), ("b.png", tissue_png(2), PNG))
    assert scales(world) == ["0.25 µm per pixel, from the TIFF's tags", "0.5 µm per pixel, typed by hand"]


def test_a_scale_is_chosen_from_a_microscope_profile(world: World) -> None:
    add_objective(world, world.reader)
    tab = visit("upload_cases.py")
    assert tab.selectbox(key="upload-scale").options == ["BX_51, 10x: 0.2 µm per pixel"]
    tab.selectbox(key="upload-scale").set_value("BX_51, 10x: 0.2 µm per pixel")
    upload(tab, ("b.png", tissue_png(2), PNG))
    assert scales(world) == ["0.2 µm per pixel, from a microscope profile (BX_51, 10x)"]


@pytest.mark.parametrize(
    ("typed", "why"), [("40X", "not the width of a pixel"), ("40", "is not a plausible scale for a microscope image")]
)
def test_a_typed_scale_without_sense_is_said_at_once(world: World, typed: str, why: str) -> None:
    tab = visit("upload_cases.py")
    type_scale(tab, "upload-scale", typed)
    tab.run()
    assert why in tab.error[0].value


def test_a_scale_is_corrected_after_the_upload_and_the_images_are_analysed_again(world: World) -> None:
    tab = upload(visit("upload_cases.py"), ("a.tif", tiff(1), TIFF), ("b.png", tissue_png(2), PNG))
    world.analyse()
    tab.run()
    assert tab.selectbox(key="correct-scale-image").options[1] == "Image 1: 0.25 µm per pixel, from the TIFF's tags"
    type_scale(tab, "correct-scale-scale", "0.2")
    press(tab, "Record scale")
    assert scales(world) == ["0.2 µm per pixel, typed by hand"] * 2
    assert [image.job for image in images(world)] == [JobState.QUEUED] * 2
    assert list(tab.table[0].value["Scale"]) == ["0.2 µm per pixel, typed by hand"] * 2


def test_the_scale_of_a_case_is_set_while_it_is_read_and_stays_once_it_was(world: World) -> None:
    case_id = world.add_case(1, 2)
    world.analyse()
    tab = visit("read_case.py", case=str(case_id))
    second = images(world)[1].id
    tab.selectbox(key=f"scale-{case_id}-image").set_value(second)
    type_scale(tab, f"scale-{case_id}-scale", "0.49")
    press(tab, "Record scale")
    assert scales(world) == ["None", "0.49 µm per pixel, typed by hand"]
    world.analyse()
    world.read(world.reader, case_id, BENIGN)
    tab = visit("read_case.py", case=str(case_id))
    assert not [button for button in tab.button if button.label == "Record scale"]
    assert "0.49 µm/px, 1 unknown" in words_on(tab)


def shown(tab: AppTest) -> dict[str, object]:
    """Return what the viewer was sent."""
    found = [json.loads(one.proto.json) for one in tab.get("bidi_component")]
    return next(data for data in found if "images" in data)


def test_the_viewer_gets_the_scale_and_may_set_it_only_before_the_first_read(world: World) -> None:
    case_id = world.add_case(1)
    world.analyse()
    before = shown(visit("read_case.py", case=str(case_id)))
    assert before["can_set_scale"] is True
    assert '"um_per_px": null' in json.dumps(before["images"])
    with world.sessions.begin() as session:
        store.scales.set_scale(session, world.reader, 1, ChosenScale(Scale(0.5, "typed")))
    world.analyse()
    world.read_first(world.reader, case_id)
    after = shown(visit("read_case.py", case=str(case_id)))
    assert after["can_set_scale"] is False
    assert '"um_per_px": 0.5' in json.dumps(after["images"])


def test_a_known_length_gives_the_scale() -> None:
    known = parse_known_length({"image_id": 7, "pixels": 400, "um": 100.0})
    assert known == KnownLength(7, 400.0, 100.0)
    assert known.um_per_px == 0.25
    assert parse_known_length(None) is None


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"image_id": 1, "pixels": 5},
        {"image_id": 1, "pixels": 0, "um": 5},
        {"image_id": 1, "pixels": 5, "um": -1},
        {"image_id": "1", "pixels": 5, "um": 5},
        {"image_id": 1, "pixels": float("nan"), "um": 5},
    ],
)
def test_a_known_length_that_our_viewer_cannot_have_sent_is_refused(sent: object) -> None:
    with pytest.raises(ValueError, match=r"no image_id|no um|must be positive|not a known length"):
        parse_known_length(sent)


def test_what_is_said_of_an_image_follows_its_scale(world: World) -> None:
    case_id = world.add_case(1)
    said = "its scale of 4 µm per pixel is outside that of the model's training images"
    card = replace(CARD, scale=TrainedScale(0.25, 1.0, 0.5))
    for um_per_px in (4.0, 0.5):
        with world.sessions.begin() as session:
            rows = store.open_case.case_images(session, case_id)
            record_scale(session, world.reader, rows, ChosenScale(Scale(um_per_px, "typed")), card)
        quality = images(world, case_id)[0].quality
        assert any(said in problem for problem in quality.problems) == (um_per_px == 4.0)


def test_an_administrator_keeps_the_microscopes_and_readers_see_them(world: World) -> None:
    tab = visit("models.py")
    assert "No microscope has been entered." in words_on(tab)
    tab.text_input(key="microscope-0").set_value("Olympus BX51")
    tab.text_input(key="lens-0").set_value("4x")
    tab.number_input(key="um-0").set_value(0.49)
    press(tab, "Record objective")
    assert "Olympus BX51" in words_on(tab)
    with world.sessions.begin() as session:
        add_person(session, "admin", Role.ADMINISTRATOR)
        reader = add_person(session, "ann", Role.READER)
        (lens,) = store.scales.objectives(session, reader)
    assert (lens.name, lens.um_per_px) == ("Olympus BX51, 4x", 0.49)


def test_an_objective_is_withdrawn(world: World) -> None:
    add_objective(world, world.reader)
    tab = visit("models.py")
    tab.selectbox(key="withdrawn-lens").select_index(0)
    press(tab, "Withdraw objective")
    assert "No microscope has been entered." in words_on(tab)
