"""Taking images in: by upload and from a folder on the server."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from core.card import QualityLimits
from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.results import QualityFinding
from db import store, tables
from db.database import Sessions
from db.files import Files
from db.values.reading import CaseState
from db.values.worklist import CaseRow
from service.intake import (
    CasePlan,
    FolderNotAllowedError,
    IntakeResult,
    add_demo_case,
    add_images,
    list_folder,
    read_folder,
)
from tests.helpers.databases import open_new
from tests.helpers.fakes import FAKE_CARD
from tests.helpers.images.odd_tiffs import pages_tiff
from tests.helpers.worklists import whole_worklist


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    """A real database."""
    opened = open_new(tmp_path / "test.sqlite")
    yield opened
    opened.dispose()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A real folder of files."""
    return Files(tmp_path / "files")


@pytest.fixture
def reader(sessions: Sessions) -> int:
    """The account that brings images."""
    with sessions.begin() as session:
        return store.accounts.single_reader(session).id


def _png(seed: int) -> bytes:
    return encode_png(generate_tissue(seed, "benign", 120, 160))


def _cases(sessions: Sessions, reader: int) -> list[CaseRow]:
    with sessions.read() as session:
        return list(whole_worklist(session, reader))


def _take_in_folder(
    sessions: Sessions, files: Files, plan: CasePlan, folder: Path, root: Path | None
) -> list[IntakeResult]:
    return list(add_images(sessions, files, plan, list(read_folder(folder, root))))


def test_an_image_comes_in_with_its_size_and_quality_and_waits(sessions: Sessions, files: Files, reader: int) -> None:
    [intake] = add_images(sessions, files, CasePlan(reader, "100X", "T-77"), [("a.png", _png(1))])
    assert (intake.width, intake.height) == (160, 120)
    assert intake.quality is not None
    assert intake.quality.readable
    [case] = _cases(sessions, reader)
    assert (case.accession, case.magnification, case.images, case.state) == ("T-77", "100X", 1, CaseState.WAITING)


def test_only_pixels_are_kept_of_a_file(sessions: Sessions, files: Files, reader: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "patient Jane Doe"
    buffer = BytesIO()
    Image.fromarray(generate_tissue(5, "benign", 120, 160)).save(buffer, "JPEG", exif=exif, comment=b"patient Jane Doe")
    list(add_images(sessions, files, CasePlan(reader, None), [("Jane Doe SOB_M_DC.jpg", buffer.getvalue())]))
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert b"Jane" in buffer.getvalue()
    assert not any(b"Jane" in data or b"SOB" in data for data in kept)
    [png] = [data for data in kept if data.startswith(b"\x89PNG")]
    assert np.array_equal(decode_image(png).pixels, decode_image(buffer.getvalue()).pixels)


def test_a_bad_file_does_not_stop_the_others(sessions: Sessions, files: Files, reader: int) -> None:
    images = [("1.png", _png(1)), ("2.png", _png(2)[:500]), ("3.txt", b"hello"), ("4.png", b""), ("5.png", _png(3))]
    intakes = list(add_images(sessions, files, CasePlan(reader, "40X"), images))
    assert [intake.image_id is not None for intake in intakes] == [True, False, False, False, True]
    assert all(intake.message for intake in intakes[1:4])
    assert [case.images for case in _cases(sessions, reader)] == [2]


def test_the_same_bytes_twice_are_recognised_whatever_their_name(sessions: Sessions, files: Files, reader: int) -> None:
    [first] = add_images(sessions, files, CasePlan(reader, "40X", "T-1"), [("a.png", _png(1))])
    [again] = add_images(sessions, files, CasePlan(reader, "40X"), [("b.png", _png(1))])
    assert first.image_id is not None
    assert (again.image_id, again.already_in) == (None, "T-1")
    assert len(_cases(sessions, reader)) == 1


class _WithColleague(Files):
    """A folder of files; while the first file is stored, a colleague brings the same image."""

    def __init__(self, folder: Path, sessions: Sessions, account_id: int) -> None:
        super().__init__(folder)
        self._colleague = partial(add_images, sessions, Files(folder), CasePlan(account_id, "40X", "T-1"))
        self.has_come = False

    def put(self, data: bytes) -> str:
        if not self.has_come:
            self.has_come = True
            assert [intake.image_id for intake in self._colleague([("colleague.png", _png(1))])] == [1]
        return super().put(data)


def test_an_image_that_a_colleague_brings_at_the_same_moment_leaves_no_empty_case(
    sessions: Sessions, reader: int, tmp_path: Path
) -> None:
    files = _WithColleague(tmp_path / "files", sessions, reader)
    [intake] = add_images(sessions, files, CasePlan(reader, "40X", "T-2"), [("mine.png", _png(1))])
    assert files.has_come
    assert (intake.image_id, intake.case_id, intake.already_in) == (None, None, "T-1")
    # Not asked of the worklist, which may leave out a case without images.
    with sessions.read() as session:
        assert list(session.scalars(select(tables.Case.accession))) == ["T-1"]


class _WithoutWriting(Files):
    """A folder of files that nothing may be written to."""

    def put(self, data: bytes) -> str:
        raise AssertionError(f"{len(data)} bytes were stored again")


def test_an_image_that_is_known_is_neither_decoded_nor_stored_again(
    sessions: Sessions, files: Files, reader: int, tmp_path: Path
) -> None:
    list(add_images(sessions, files, CasePlan(reader, "40X", "T-1"), [("a.png", _png(1))]))
    known = _WithoutWriting(tmp_path / "files")
    [intake] = add_images(sessions, known, CasePlan(reader, "40X"), [("b.png", _png(1))])
    assert intake.already_in == "T-1"


def test_one_case_per_image_makes_as_many_cases(sessions: Sessions, files: Files, reader: int) -> None:
    plan = CasePlan(reader, "200X", one_case=False)
    intakes = list(add_images(sessions, files, plan, [(f"{n}.png", _png(n)) for n in range(3)]))
    assert len({intake.case_id for intake in intakes}) == 3
    assert sorted(case.accession for case in _cases(sessions, reader)) == ["C-0001", "C-0002", "C-0003"]


def test_files_without_one_image_leave_no_case(sessions: Sessions, files: Files, reader: int) -> None:
    list(add_images(sessions, files, CasePlan(reader, None), [("a", b"x"), ("b", b"y")]))
    assert _cases(sessions, reader) == []


def test_a_taken_case_number_is_refused_before_anything_is_saved(sessions: Sessions, files: Files, reader: int) -> None:
    list(add_images(sessions, files, CasePlan(reader, None, "T-1"), [("a", _png(1))]))
    with pytest.raises(ValueError, match="T-1"):
        list(add_images(sessions, files, CasePlan(reader, None, "T-1"), [("b", _png(2))]))
    assert [case.images for case in _cases(sessions, reader)] == [1]


def test_the_limits_of_the_card_in_service_decide_what_is_flagged(
    sessions: Sessions, files: Files, reader: int
) -> None:
    def warnings(limit: float, seed: int) -> tuple[QualityFinding, ...]:
        card = replace(FAKE_CARD, quality_limits=QualityLimits(sharpness=limit))
        plan = CasePlan(reader, None, card=card)
        [intake] = add_images(sessions, files, plan, [("a", _png(seed))])
        assert intake.quality is not None
        return tuple(f for f in intake.quality.findings if "blurred" in f.message)

    assert warnings(0.0, 1) == ()
    assert len(warnings(1e9, 2)) == 1


def test_a_folder_comes_in_by_natural_order_and_says_what_it_left_out(
    sessions: Sessions, files: Files, reader: int, tmp_path: Path
) -> None:
    root = tmp_path / "import"
    (root / "day" / "inner").mkdir(parents=True)
    for name in ("image 10.png", "image 2.png", ".hidden.png"):
        (root / "day" / name).write_bytes(_png(len(name)))
    (root / "day" / "notes.txt").write_text("not an image")
    (tmp_path / "outside.png").write_bytes(_png(99))
    (root / "day" / "link.png").symlink_to(tmp_path / "outside.png")
    (root / "day" / "gone.png").symlink_to(root / "day" / "nowhere.png")
    (root / "day" / "image 11.JFIF").write_bytes(_png(41))
    (root / "day" / os.fsdecode(b"image 12 M\xe4rz")).write_bytes(_png(42))
    intakes = _take_in_folder(sessions, files, CasePlan(reader, "40X"), Path("day"), root)
    assert [intake.name for intake in intakes] == [
        ".hidden.png",
        "gone.png",
        "image 2.png",
        "image 10.png",
        "image 11.JFIF",
        r"image 12 M\xe4rz",
        "inner",
        "link.png",
        "notes.txt",
    ]
    taken = ["image 2.png", "image 10.png", "image 11.JFIF", r"image 12 M\xe4rz"]
    assert [intake.name for intake in intakes if intake.image_id] == taken
    assert all(intake.message for intake in intakes if not intake.image_id)
    assert intakes[1].message == "skipped: link to a file that is not there"
    assert [case.images for case in _cases(sessions, reader)] == [4]


def test_how_a_file_was_read_is_kept_with_its_image(sessions: Sessions, files: Files, reader: int) -> None:
    pages = pages_tiff([(generate_tissue(seed, "benign", 120, 160), {}) for seed in (1, 2)])
    [intake] = add_images(sessions, files, CasePlan(reader, "40X"), [("pages.tif", pages)])
    assert intake.case_id is not None
    with sessions.read() as session:
        [image] = store.open_case.case_images(session, intake.case_id)
    assert image.quality.notes == ("only the first of 2 pages is used",)
    assert image.quality.problems == ()
    assert image.quality == intake.quality


@pytest.mark.parametrize("folder", ["..", "/", "/etc", "day/../../other", "way out", "missing", "a\0b", "circle"])
def test_only_folders_inside_the_import_root_are_read(folder: str, tmp_path: Path) -> None:
    root = tmp_path / "import"
    (root / "day").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (root / "way out").symlink_to(tmp_path / "other")
    (root / "circle").symlink_to(root / "circle")
    with pytest.raises(FolderNotAllowedError):
        list_folder(Path(folder), root)


def test_a_sister_folder_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    (tmp_path / "import").mkdir()
    (tmp_path / "import-private").mkdir()
    with pytest.raises(FolderNotAllowedError, match="not inside"):
        list_folder(tmp_path / "import-private", tmp_path / "import")


def test_without_an_import_root_the_message_says_how_to_set_one(
    sessions: Sessions, files: Files, reader: int, tmp_path: Path
) -> None:
    with pytest.raises(FolderNotAllowedError, match="SECOND_READ_IMPORT_ROOT"):
        _take_in_folder(sessions, files, CasePlan(reader, None), tmp_path, None)


def test_every_demo_case_is_new_and_marked(sessions: Sessions, files: Files, reader: int) -> None:
    ids = {add_demo_case(sessions, files, reader) for _ in range(2)}
    cases = _cases(sessions, reader)
    assert len(ids) == 2
    assert [(case.demonstration, case.images) for case in cases] == [(True, 3), (True, 3)]


def test_one_number_cannot_name_several_cases() -> None:
    with pytest.raises(ValueError, match="several cases"):
        CasePlan(1, None, "T-1", one_case=False)
