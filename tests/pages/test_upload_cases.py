"""Bringing images in: by upload, from a folder, or generated."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.imaging.decode import decode_image
from db import store
from db.values.reading import CaseState
from pages.ui import resources
from service.intake import CasePlan
from tests.helpers.app_pages import FRAME, press, visit, words_on
from tests.helpers.images.odd_modes import saved
from tests.helpers.images.odd_tiffs import pages_tiff
from tests.helpers.images.tissue import tissue_png
from tests.helpers.rows import stored_image
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import World

PNG = "image/png"


def upload(tab: AppTest, *files: tuple[str, bytes, str]) -> AppTest:
    tab.file_uploader[0].set_value(list(files))
    return press(tab, "Store images")


def cases(world: World) -> list[tuple[str, int, str | None]]:
    with world.sessions.read() as session:
        return [(row.accession, row.images, row.magnification) for row in whole_worklist(session, world.reader)]


def test_several_images_become_one_case(world: World) -> None:
    tab = visit("upload_cases.py")
    tab.selectbox[0].set_value("200X")
    upload(tab, ("a.png", tissue_png(1), PNG), ("b.png", tissue_png(2), PNG))
    assert cases(world) == [("C-0001", 2, "200X")]
    assert list(tab.table[0].value["State"]) == ["queued", "queued"]
    assert list(tab.table[0].value["Size"]) == ["320 x 260", "320 x 260"]


def test_or_one_case_each(world: World) -> None:
    tab = visit("upload_cases.py")
    tab.segmented_control[0].set_value("One case per image")
    upload(tab, ("a.png", tissue_png(1), PNG), ("b.png", tissue_png(2), PNG))
    assert [row[:2] for row in cases(world)] == [("C-0001", 1), ("C-0002", 1)]


def test_the_magnification_is_remembered(world: World) -> None:
    world.add_case(1, magnification="12.5X")
    assert visit("upload_cases.py").selectbox[0].value == "12.5X"


def test_one_bad_file_does_not_stop_the_others(world: World) -> None:
    tab = visit("upload_cases.py")
    upload(tab, ("a.png", tissue_png(1), PNG), ("bad.png", b"not an image", PNG), ("c.png", tissue_png(2), PNG))
    assert cases(world) == [("C-0001", 2, None)]
    assert list(tab.table[0].value["State"]) == ["queued", "not stored", "queued"]
    assert list(tab.table[0].value["Quality"])[1].startswith("x ")


def test_an_image_is_taken_whatever_its_file_is_called_and_the_rest_is_named(world: World) -> None:
    jpeg = saved(Image.open(io.BytesIO(tissue_png(1))), "JPEG")
    names = ("phone.jfif", "camera.JPE", "scan.TIF", "no ending")
    files = [(name, tissue_png(n), "") for n, name in enumerate(names, start=2)]
    tab = upload(
        visit("upload_cases.py"), ("1.jfif", jpeg, "image/jpeg"), *files, ("x.heic", b"\0\0\0\x18ftypheic", "")
    )
    assert cases(world) == [("C-0001", 5, None)]
    assert tab.warning[0].value == "1 of 6 files was not stored: x.heic. The table says why."
    assert "HEIC" in list(tab.table[0].value["Quality"])[5]


def test_how_a_file_was_read_is_shown_after_the_upload_and_with_the_case(world: World) -> None:
    pages = [np.asarray(Image.open(io.BytesIO(tissue_png(seed)))) for seed in (1, 2)]
    tab = upload(visit("upload_cases.py"), ("pages.tif", pages_tiff([(page, {}) for page in pages]), "image/tiff"))
    assert list(tab.table[0].value["Quality"]) == ["ok; only the first of 2 pages is used"]
    assert "only the first of 2 pages is used" in words_on(visit("read_case.py", case="1"))


def test_the_same_image_is_named_with_its_case(world: World) -> None:
    world.add_case(1, accession="S26-100")
    tab = upload(visit("upload_cases.py"), ("again.png", tissue_png(1), PNG))
    assert "same image as in S26-100" in words_on(tab).replace("\\", "")
    assert len(cases(world)) == 1


def test_a_second_click_stores_nothing_again(world: World) -> None:
    tab = upload(visit("upload_cases.py"), ("a.png", tissue_png(1), PNG))
    press(tab, "Store images")
    assert "nothing to store" in tab.error[0].value
    assert cases(world) == [("C-0001", 1, None)]


def test_a_taken_case_number_is_said_and_the_files_stay(world: World) -> None:
    world.add_case(1, accession="S26-100")
    tab = visit("upload_cases.py")
    tab.text_input[0].set_value("S26-100")
    upload(tab, ("b.png", tissue_png(2), PNG))
    assert "already a case S26-100" in tab.error[0].value
    tab.text_input[0].set_value("S26-101")
    press(tab, "Store images")
    assert [row[0] for row in cases(world)] == ["S26-100", "S26-101"]


def test_the_page_says_when_the_images_are_ready(world: World) -> None:
    tab = upload(visit("upload_cases.py"), ("a.png", tissue_png(1), PNG), ("b.png", tissue_png(2), PNG))
    assert "0 of 2 images ready" in words_on(tab)
    world.analyse()
    tab.run()
    assert "2 of 2 images ready" in words_on(tab)
    press(tab, "Read this case")
    assert tab.query_params["case"] == "1"


def test_a_folder_on_the_server(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "scanner" / "today"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(tissue_png(1))
    (folder / "2.txt").write_text("not an image")
    monkeypatch.setenv("SECOND_READ_IMPORT_ROOT", str(tmp_path / "scanner"))
    tab = visit("upload_cases.py")
    tab.text_input[1].set_value("today")
    press(tab, "Store images")
    assert cases(world) == [("C-0001", 1, None)]
    assert list(tab.table[0].value["State"]) == ["queued", "not stored"]


def test_a_folder_outside_the_import_root_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scanner").mkdir()
    monkeypatch.setenv("SECOND_READ_IMPORT_ROOT", str(tmp_path / "scanner"))
    tab = visit("upload_cases.py")
    tab.text_input[1].set_value("..")
    press(tab, "Store images")
    assert "not inside" in tab.error[0].value


def test_a_demo_case_opens_at_once_and_is_called_one(world: World) -> None:
    tab = press(visit("upload_cases.py"), "Create a demo case")
    assert "generated demo case" in words_on(tab)
    assert "Your first opinion" in words_on(tab)


def test_a_case_number_that_looks_like_a_person_is_stored_only_when_confirmed(world: World) -> None:
    tab = visit("upload_cases.py")
    tab.text_input[0].set_value("Garcia_Maria")
    upload(tab, ("a.png", tissue_png(1), PNG))
    assert "Nothing has been stored" in tab.error[0].value
    assert "what looks like a person's name. All readers will see it" in tab.warning[0].value
    assert cases(world) == []
    assert tab.text_input[0].value == "Garcia_Maria"
    tab.checkbox[0].check()
    press(tab, "Store images")
    assert [row[:2] for row in cases(world)] == [("Garcia_Maria", 1)]


def test_a_confirmation_holds_for_one_case_number_only(world: World) -> None:
    tab = visit("upload_cases.py")
    tab.text_input[0].set_value("Garcia_Maria").run()
    tab.checkbox[0].check()
    tab.text_input[0].set_value("Smith, John").run()
    assert not tab.checkbox[0].value
    tab.text_input[0].set_value("S26-100").run()
    assert not tab.checkbox
    assert not tab.warning


def test_file_names_that_look_like_a_person_are_warned_of_and_kept_nowhere(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    tab = visit("upload_cases.py")
    files = (("Kvist_Eerika 12.03.1956.png", tissue_png(1), PNG), ("IMG_1234.png", tissue_png(2), PNG))
    tab.file_uploader[0].set_value(list(files)).run()
    warning = (
        "1 file name contains what looks like a person's name, a full date, perhaps of birth. File names are not stored"
    )
    assert any(warning in caption.value.replace("\\", "") for caption in tab.caption)
    press(tab, "Store images")
    assert any(warning in caption.value.replace("\\", "") for caption in tab.caption)
    assert "Kvist" not in caplog.text
    with world.sessions.read() as session:
        stored = "\n".join(session.connection().connection.iterdump())
    assert "tissue_fraction" in stored
    assert "Kvist" not in stored


def names_chosen(tab: AppTest) -> list[str]:
    return [name.replace("\\", "") for name in tab.table[0].value["Chosen"]]


def pictures(world: World, case_id: int) -> list[bytes]:
    """Return the stored pixels of a case in the order in which a reader sees them."""
    with world.sessions.read() as session:
        images = store.open_case.case_images(session, case_id)
        hashes = [store.open_case.image_file(session, image.id, world.reader) for image in images]
    return [decode_image(world.files.get(one)).pixels.tobytes() for one in hashes]


def pixels(seed: int) -> bytes:
    return decode_image(tissue_png(seed)).pixels.tobytes()


def leave_open(world: World, images: int = 3) -> int:
    """Leave a case as a server does that is killed after the first of several images."""
    with world.sessions.begin() as session:
        case_id = store.cases.add_case(session, world.reader, accession="S24-1", magnification=None)
        intake = store.intakes.begin_intake(session, world.reader, case_id, images)
        image_id = store.cases.add_image(session, case_id, stored_image("first")).image_id
        store.intakes.add_to_intake(session, intake, 1, image_id)
    return case_id


def test_chosen_files_and_the_case_number_survive_a_look_at_another_page(world: World) -> None:
    tab = visit("upload_cases.py")
    tab.text_input[0].set_value("S26-7").run()
    tab.file_uploader[0].set_value([("b.png", tissue_png(1), PNG), ("a.png", tissue_png(2), PNG)]).run()
    tab.switch_page(str(FRAME.parent / "worklist.py")).run()
    assert not tab.file_uploader
    tab.switch_page(str(FRAME.parent / "upload_cases.py")).run()
    assert tab.text_input[0].value == "S26-7"
    assert names_chosen(tab) == ["a.png", "b.png"]
    press(tab, "Store images")
    assert cases(world) == [("S26-7", 2, None)]
    assert list(tab.table[0].value["Image"]) == ["a.png", "b.png"]


def test_files_are_stored_in_natural_order_or_as_they_were_moved(world: World) -> None:
    tab = visit("upload_cases.py")
    names = ("slide 10.png", "Slide 2.png", "slide 1.png")
    tab.file_uploader[0].set_value([(name, tissue_png(seed), PNG) for seed, name in enumerate(names)]).run()
    assert names_chosen(tab) == ["slide 1.png", "Slide 2.png", "slide 10.png"]
    tab.selectbox(key="move-chosen-1").set_value(3)
    tab.number_input[0].set_value(1)
    press(tab, "Move")
    assert names_chosen(tab) == ["slide 10.png", "slide 1.png", "Slide 2.png"]
    # Who has moved one has an order in mind: more files come after it.
    tab.file_uploader[0].set_value([("slide 0.png", tissue_png(9), PNG)]).run()
    assert names_chosen(tab)[-1] == "slide 0.png"
    press(tab, "Store images")
    assert pictures(world, 1) == [pixels(seed) for seed in (0, 2, 1, 9)]


def test_a_file_can_be_left_out_and_is_listed_once_however_often_it_is_chosen(world: World) -> None:
    tab = visit("upload_cases.py")
    for _ in range(2):
        tab.file_uploader[0].set_value([("a.png", tissue_png(1), PNG), ("b.png", tissue_png(2), PNG)]).run()
    assert names_chosen(tab) == ["a.png", "b.png"]
    tab.multiselect[0].set_value([0]).run()
    press(tab, "Leave these out")
    assert names_chosen(tab) == ["b.png"]


def test_a_forgotten_image_is_added_to_ones_own_case_and_the_order_changed(world: World) -> None:
    case_id = world.add_case(1, 2, accession="S26-1")
    tab = visit("upload_cases.py")
    tab.segmented_control[0].set_value("Add to a case").run()
    assert tab.selectbox(key="upload-join").options == ["S26-1 (2)"]
    upload(tab, ("c.png", tissue_png(3), PNG))
    assert cases(world) == [("S26-1", 3, "100X")]
    tab.selectbox(key=f"move-stored-{case_id}").set_value(3)
    tab.number_input(key=f"move-stored-{case_id}-to").set_value(1)
    press(tab, "Move")
    assert "new order" in tab.success[0].value
    assert pictures(world, case_id) == [pixels(seed) for seed in (3, 1, 2)]


def test_an_opened_case_is_not_offered_for_more_images(world: World) -> None:
    world.open_case(world.add_case(1))
    tab = visit("upload_cases.py")
    tab.segmented_control[0].set_value("Add to a case").run()
    upload(tab, ("c.png", tissue_png(3), PNG))
    assert "no unopened case to add images to" in tab.error[0].value
    assert [row[1] for row in cases(world)] == [1]


def test_what_was_not_stored_is_named_above_the_table(world: World) -> None:
    tab = visit("upload_cases.py")
    upload(tab, ("a.png", tissue_png(1), PNG), ("bad.png", b"not an image", PNG))
    words = tab.warning[0].value.replace("\\", "")
    assert words == "1 of 2 files was not stored: bad.png. The table says why."


def test_an_interrupted_batch_is_named_and_can_be_completed(world: World) -> None:
    case_id = leave_open(world)
    tab = visit("read_case.py", case=str(case_id))
    assert "This case is incomplete" in words_on(tab)
    assert "reading" not in tab.session_state
    tab = visit("upload_cases.py")
    words = words_on(tab).replace("\\", "")
    assert "Case **S24-1** is incomplete" in words
    assert "Missing: images 2 to 3 of 3, in upload order" in words
    press(tab, "Complete the case with the 1 image already stored")
    assert "S24-1 is complete" in tab.success[0].value.replace("\\", "")
    assert world.state(world.reader, case_id) is CaseState.WAITING


def test_the_missing_images_of_an_interrupted_batch_complete_the_case(world: World) -> None:
    case_id = leave_open(world)
    tab = visit("upload_cases.py")
    tab.segmented_control[0].set_value("Add to a case").run()
    upload(tab, ("b.png", tissue_png(2), PNG), ("c.png", tissue_png(3), PNG))
    assert world.state(world.reader, case_id) is CaseState.WAITING
    assert "is incomplete" not in words_on(tab)


def test_another_tab_of_the_uploader_shows_what_became_of_a_batch_whose_tab_was_closed(world: World) -> None:
    visit("upload_cases.py")
    plan = CasePlan(world.reader, None)
    batch = resources.installation().batches.store(plan, [("left behind.png", tissue_png(1))], 1)
    assert batch.wait(60)
    tab = visit("upload_cases.py")
    assert list(tab.table[0].value["Image"]) == ["left behind.png"]
    assert not visit("upload_cases.py").table


def test_files_chosen_in_one_tab_stay_when_a_batch_of_another_tab_ends(world: World) -> None:
    tab = visit("upload_cases.py")
    tab.file_uploader[0].set_value([("mine.png", tissue_png(2), PNG)]).run()
    other = resources.installation().batches.store(CasePlan(world.reader, None), [("other.png", tissue_png(1))], 1)
    assert other.wait(60)
    tab.run()
    assert names_chosen(tab) == ["mine.png"]
    assert list(tab.table[1].value["Image"]) == ["other.png"]
    press(tab, "Store images")
    assert [row[:2] for row in cases(world)] == [("C-0001", 1), ("C-0002", 1)]


def test_chosen_images_are_shown_with_what_happens_next_before_they_are_stored(world: World) -> None:
    tab = visit("upload_cases.py")
    assert "Next, the server stores" not in words_on(tab)
    files = [(f"<b>{seed}</b>.png", tissue_png(seed), "image/png") for seed in range(1, 15)]
    files[1] = ("<b>2</b> notes.png", b"no image", "image/png")
    tab.file_uploader(key="uploads-0").set_value(files).run()
    drawn = next(each.proto.body for each in tab.get("html") if "image-previews" in each.proto.body)
    assert drawn.count("<img ") == 11
    assert "&lt;b&gt;1&lt;/b&gt;.png" in drawn
    assert drawn.count("<figcaption>&lt;b&gt;2&lt;/b&gt; notes.png") == 1
    assert "and 2 more" in drawn
    assert "Next, the server stores 14 images" in words_on(tab)
    with world.sessions.read() as session:
        assert whole_worklist(session, world.reader) == []
