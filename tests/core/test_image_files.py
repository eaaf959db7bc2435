"""Every file of a batch is analysed or named, and no result overwrites another."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.commands.outcomes import MAP_ENDINGS
from core.files import write_whole
from core.image_files import ImageFile, find_images, output_names, read_image_file
from core.imaging.limits import UnreadableImageError
from tests.helpers.images.odd_modes import saved, smooth_colours


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images under odd names, and with much else."""
    image = saved(Image.fromarray(smooth_colours()), "JPEG")
    root = tmp_path / "case"
    (root / "inner").mkdir(parents=True)
    (root / ".cache").mkdir()
    for name in ("1.JPG", "2.jfif", "3", "4.dat", "inner/5.TIF", ".cache/6.jpg", ".7.jpg"):
        (root / name).write_bytes(image)
    (root / "8.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "9.png").write_bytes(b"no image")
    (root / "empty").touch()
    (root / "gone.jpg").symlink_to(root / "nowhere")
    (root / "round.jpg").symlink_to(root / "round.jpg")
    (root / "other").symlink_to(root / "inner")
    for name, text in (("notes.txt", b"text"), ("README", b"text"), ("table.csv", b"a,b"), ("report.pdf", b"%PDF-1")):
        (root / name).write_bytes(text)
    for name in (".DS_Store", "._1.jpg"):
        (root / name).write_bytes(b"\0\0\0\1Bud1")
    os.mkfifo(root / "pipe")
    return root


def test_every_file_of_a_folder_is_analysed_or_named(folder: Path) -> None:
    batch = find_images(folder)
    taken = {str(file.relative) for file in batch.files if file.problem is None}
    problems = {str(file.relative): file.problem for file in batch.files if file.problem is not None}
    assert taken == {"1.JPG", "2.jfif", "3", "4.dat", "inner/5.TIF", "8.heic", "9.png", "empty"}
    assert set(problems) == {".7.jpg", "gone.jpg", "round.jpg", "other", "pipe"}
    assert problems[".7.jpg"] == "a hidden file."
    assert problems["gone.jpg"] == "a link to a file that is not there."
    assert problems["pipe"] == "not a regular file."
    others = {path.name for path in batch.others}
    assert others == {"notes.txt", "README", "table.csv", "report.pdf", ".cache", ".DS_Store", "._1.jpg"}


def test_a_file_with_several_names_counts_once(folder: Path) -> None:
    (folder / "5.jpg").symlink_to("1.JPG")
    os.link(folder / "1.JPG", folder / "inner" / "hard.jpg")
    problems = {str(file.relative): file.problem for file in find_images(folder).files}
    assert (problems["5.jpg"], problems["inner/hard.jpg"]) == ("the same file as 1.JPG.", "the same file as 1.JPG.")
    assert problems["1.JPG"] is None


@pytest.mark.parametrize("name", ["slide.zvi", "raw.dng", "scan.tga", "stack.ets"])
def test_what_is_named_like_an_image_is_not_called_none(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0 or anything else")
    assert [file.path.name for file in find_images(tmp_path).files] == [name]


def test_what_systems_and_programs_keep_is_no_image(tmp_path: Path) -> None:
    for name, head in (
        ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
        ("features.h5", b"\x89HDF\r\n\x1a\n"),
        ("a.gz", b"\x1f\x8b"),
    ):
        (tmp_path / name).write_bytes(head + bytes(200))
    assert find_images(tmp_path).files == ()


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", ".thumbnails"])
def test_smaller_copies_and_deleted_files_that_systems_keep_are_no_input(folder: Path, name: str) -> None:
    (folder / name / "1.JPG").mkdir(parents=True)
    (folder / name / "1.JPG" / "SYNOPHOTO_THUMB_M.jpg").write_bytes(saved(Image.fromarray(smooth_colours()), "JPEG"))
    found = find_images(folder)
    assert not any(name in file.path.parts for file in found.files)
    assert folder / name in found.others


def test_a_folder_of_results_inside_is_no_input(folder: Path) -> None:
    batch = find_images(folder, folder / "inner")
    assert "inner/5.TIF" not in {str(file.relative) for file in batch.files}
    assert folder / "inner" in batch.others


def test_a_file_that_is_named_is_analysed_whatever_it_is_called(folder: Path) -> None:
    [file] = find_images(folder / "notes.txt").files
    assert (file.path, file.problem) == (folder / "notes.txt", None)


def test_what_cannot_be_read_is_refused_in_words(folder: Path) -> None:
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        read_image_file(folder / "pipe")
    with pytest.raises(UnreadableImageError, match="cannot be read: No such file"):
        read_image_file(folder / "gone.jpg")


def named(*paths: str, root: str = "case") -> list[ImageFile]:
    return [ImageFile(Path(root), Path(root) / path) for path in paths]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (named("a.png", "left/b.tif"), ["a", "left/b"]),
        (named("slide.png", "slide.tif", "b.png"), ["slide.png", "slide.tif", "b.png"]),
        (named("1.png", root="A") + named("1.png", root="B"), ["A/1", "B/1"]),
        (named("1.png", "1.tif", root="A") + named("1.png", root="B"), ["A/1.png", "A/1.tif", "B/1.png"]),
        (named("1.png", root="x/A") + named("1.png", root="y/A"), ["1-1.png", "2-1.png"]),
        (named("Ä.png", "a\N{COMBINING DIAERESIS}.png"), ["1-Ä.png", "2-a\N{COMBINING DIAERESIS}.png"]),
        (named("a.png", root=".."), ["a"]),
    ],
)
def test_names_of_results_are_short_and_tell_all_files_apart(files: list[ImageFile], names: list[str]) -> None:
    assert output_names(files) == names


def test_no_result_of_one_file_is_a_result_of_another() -> None:
    files = named("x.png", "x.scope.png")
    assert output_names(files) == ["x", "x.scope"]
    assert output_names(files, MAP_ENDINGS) == ["x.png", "x.scope.png"]


def test_the_results_of_a_file_with_the_longest_name_can_be_saved(tmp_path: Path) -> None:
    files = named("x" * 251 + ".png", "x" * 251 + ".tif", "Ü" * 125 + ".png", "a.png")
    names = output_names(files, MAP_ENDINGS)
    assert [name[:3] for name in names] == ["1-x", "2-x", "3-Ü", "4-a"]
    for name in names:
        for ending in MAP_ENDINGS:
            write_whole(tmp_path / f"{name}{ending}", b"")


_NAMES = st.text("aAäÄ.b1", min_size=1, max_size=3).filter(lambda name: name.strip(".") != "")


@given(st.lists(st.tuples(st.sampled_from(["A", "x/A", "a", "../A"]), st.lists(_NAMES, min_size=1, max_size=2))))
def test_no_two_files_share_a_name_for_their_results(paths: list[tuple[str, list[str]]]) -> None:
    files = [ImageFile(Path(root), Path(root).joinpath(*parts)) for root, parts in paths]
    names = output_names(files)
    assert len({name.casefold() for name in names}) == len(files)
    assert not any(name.startswith("/") or ".." in name.split("/") for name in names)


def test_names_of_other_encodings_become_text(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"M\xe4rz.png")
    assert output_names([ImageFile(tmp_path, file)]) == [r"M\xe4rz"]
