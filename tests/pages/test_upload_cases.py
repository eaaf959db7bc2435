"""Bringing images in: by upload, from a folder, or generated."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from db import store
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.images.tissue import tissue_png
from tests.helpers.world import World

PNG = "image/png"


def upload(tab: AppTest, *files: tuple[str, bytes, str]) -> AppTest:
    tab.file_uploader[0].set_value(list(files))
    return press(tab, "Store images")


def cases(world: World) -> list[tuple[str, int, str | None]]:
    with world.sessions.read() as session:
        return [
            (row.accession, row.images, row.magnification) for row in store.worklist.worklist(session, world.reader)
        ]


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


def test_chosen_images_are_shown_with_what_happens_next_before_they_are_stored(world: World) -> None:
    tab = visit("upload_cases.py")
    assert "Next:" not in words_on(tab)
    files = [(f"<b>{seed}</b>.png", tissue_png(seed), "image/png") for seed in range(1, 15)]
    files[1] = ("notes.png", b"no image", "image/png")
    tab.file_uploader(key="uploads-0").set_value(files).run()
    drawn = next(each.proto.body for each in tab.get("html") if "image-previews" in each.proto.body)
    assert drawn.count("<img ") == 11
    assert "&lt;b&gt;1&lt;/b&gt;.png" in drawn
    assert drawn.count("<figcaption>notes.png") == 1
    assert "and 2 more" in drawn
    assert "Next: the server stores 14 images" in words_on(tab)
    with world.sessions.read() as session:
        assert store.worklist.worklist(session, world.reader) == []
