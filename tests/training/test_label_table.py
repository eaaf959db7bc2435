"""Tables of labels as people have them: which files and patients they mean, and what is refused."""

import io
import os
import unicodedata
from pathlib import Path
from typing import Literal

import openpyxl
import pytest

from core.data.datasets import LabelledImage, list_labelled_folder
from core.data.left_out import dataset_cautions, describe_merged, find_left_out
from core.data.splits import check_apart, patient_folds
from tests.helpers.images.dataset_trees import made_picture, write_picture

Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD")
FILES = ("a.png", "b.png", "c.png", "d.png")
PLAIN = "file,label,patient_id\na.png,benign,P1\nb.png,benign,P2\nc.png,malignant,P3\nd.png,malignant,P4\n"


def folder(root: Path, table: str | bytes = PLAIN, *, files: tuple[str, ...] = FILES, name: str = "labels.csv") -> Path:
    """Write different pictures, and a table of their labels."""
    for number, file in enumerate(files):
        write_picture(root / file, made_picture(number, 64))
    (root / name).write_bytes(table if isinstance(table, bytes) else table.encode())
    return root


def rows(images: list[LabelledImage]) -> list[tuple[str, str, str]]:
    return [(image.path.name, image.label, image.patient_id) for image in images]


EXPECTED = [
    ("a.png", "benign", "P1"),
    ("b.png", "benign", "P2"),
    ("c.png", "malignant", "P3"),
    ("d.png", "malignant", "P4"),
]


@pytest.mark.parametrize(
    "table",
    [
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        "sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"),
        PLAIN.replace("file,label,patient_id", "File,Label,Patient_ID"),
        PLAIN.replace("file,label,patient_id", " FILE ,label, patient id "),
        PLAIN.replace("benign", "Benign ").replace("malignant", "\u00a0MALIGNANT"),
        PLAIN.replace("a.png", " .\\a.png "),
        PLAIN.replace("a.png", "A.PNG"),
        PLAIN.replace("\n", ",,\n") + ",,,,\n,,,,\n",
        PLAIN.replace("P1", " P1").replace("P2", "P2\u200b"),
    ],
)
def test_a_folder_is_read_from_its_table_however_it_was_saved(tmp_path: Path, table: str | bytes) -> None:
    assert rows(list_labelled_folder(folder(tmp_path, table))) == EXPECTED


@pytest.mark.parametrize("name", ["labels.CSV", "Labels.csv", "LABELS.TSV", "labels.txt"])
def test_a_table_is_found_whatever_the_case_of_its_name(tmp_path: Path, name: str) -> None:
    assert rows(list_labelled_folder(folder(tmp_path, name=name))) == EXPECTED


def workbook(*rows: tuple[str | float, ...]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_workbook_whose_numbers_lost_their_zeros_has_the_patients_it_had(tmp_path: Path) -> None:
    header = ("File", "Label", "Patient ID")
    table = workbook(header, ("a.png", "benign", "007"), ("b.png", "benign", 7), ("c.png", "malignant", 8.0))
    images = list_labelled_folder(folder(tmp_path, table, name="labels.xlsx"))
    assert rows(images) == [("a.png", "benign", "007"), ("b.png", "benign", "007"), ("c.png", "malignant", "8")]
    assert describe_merged(images) == ("'007' and '7'",)


def test_of_several_tables_the_one_of_the_usual_name_is_read_and_otherwise_none(tmp_path: Path) -> None:
    folder(tmp_path, workbook(("file", "label", "patient_id")), name="labels.xlsx")
    assert rows(list_labelled_folder(folder(tmp_path))) == EXPECTED
    (tmp_path / "labels.csv").rename(tmp_path / "labels.tsv")
    with pytest.raises(ValueError, match=r"several tables of labels, keep one: labels\.tsv, labels\.xlsx"):
        list_labelled_folder(tmp_path)


@pytest.mark.parametrize("on_disk", FORMS)
@pytest.mark.parametrize("in_table", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_name_is_found_composed_and_decomposed(tmp_path: Path, on_disk: Form, in_table: Form, encoding: str) -> None:
    name = "Schnitt Käfer/Müller.png"
    folder(tmp_path, files=(unicodedata.normalize(on_disk, name),))
    table = f"file,label,patient_id\n{unicodedata.normalize(in_table, name)},benign,P1\n"
    (tmp_path / "labels.csv").write_bytes(table.encode(encoding))
    (image,) = list_labelled_folder(tmp_path)
    assert image.path.is_file()


@pytest.mark.parametrize(
    "written", ["sub\\a.png", ".\\sub\\a.png", "SUB\\A.PNG", "sub/./a.png", "./sub//a.png", "sub%2Fa.png"]
)
def test_a_path_of_windows_is_found(tmp_path: Path, written: str) -> None:
    folder(tmp_path, f"file,label,patient_id\n{written},benign,P1\n", files=("sub/a.png",))
    (image,) = list_labelled_folder(tmp_path)
    assert image.path == tmp_path / "sub" / "a.png"


def test_a_name_that_may_mean_two_files_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, "file,label,patient_id\nA.png,benign,P1\n", files=("a.png", "a.PNG"))
    with pytest.raises(ValueError, match=r"line 2, column file: A.png may be any of a.PNG, a.png|a.png, a.PNG"):
        list_labelled_folder(tmp_path)


@pytest.mark.parametrize("again", ["./a.png", "sub/../a.png", "A.PNG", " a.png", ".\\a.png", "%61.png", "hard.png"])
def test_one_file_under_two_names_is_refused(tmp_path: Path, again: str) -> None:
    folder(tmp_path, f"{PLAIN}{again},malignant,P9\n")
    os.link(tmp_path / "a.png", tmp_path / "hard.png")
    with pytest.raises(ValueError, match=r"more than once: a\.png \(line 2\) and .* \(line 6\)"):
        list_labelled_folder(tmp_path)


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    folder(tmp_path, f"{PLAIN}link.png,malignant,P9\n")
    (tmp_path / "link.png").symlink_to("a.png")
    with pytest.raises(ValueError, match=r"line 6, column file: link.png is a link; .* pass --outside"):
        list_labelled_folder(tmp_path)
    with pytest.raises(ValueError, match=r"more than once: a\.png \(line 2\) and link\.png \(line 6\)"):
        list_labelled_folder(tmp_path, outside=True)


def test_copies_of_one_picture_with_two_labels_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, f"{PLAIN}copy.png,malignant,P9\n")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    said = r"gives one picture several labels: a\.png \(line 2\) as benign, copy\.png \(line 6\) as malignant"
    with pytest.raises(ValueError, match=said):
        list_labelled_folder(tmp_path)
    (tmp_path / "labels.csv").write_text(f"{PLAIN}copy.png,Benign,P9\n")
    assert len(list_labelled_folder(tmp_path)) == 5


def test_pictures_of_one_size_and_one_middle_are_no_copies(tmp_path: Path) -> None:
    folder(tmp_path)
    for number, file in enumerate(FILES):
        (tmp_path / file).write_bytes(bytes([number]) + bytes(100_000))
    assert len(list_labelled_folder(tmp_path)) == 4


@pytest.mark.parametrize("name", ["../out.png", "{root}/../out.png", "/etc/passwd", "sub/../../out.png", "..\\out.png"])
def test_a_file_outside_the_folder_is_refused_unless_asked_for(tmp_path: Path, name: str) -> None:
    root = tmp_path / "set"
    written = name.format(root=root)
    folder(root, f"{PLAIN}{written},malignant,P9\n")
    write_picture(tmp_path / "out.png", made_picture(9, 64))
    with pytest.raises(ValueError, match=r"line 6, column file: .* is outside the folder; .* or pass --outside"):
        list_labelled_folder(root)
    assert Path("/etc/passwd" if name == "/etc/passwd" else tmp_path / "out.png") in {
        image.path for image in list_labelled_folder(root, outside=True)
    }


def test_it_is_not_told_whether_a_file_outside_exists(tmp_path: Path) -> None:
    for name in ("/etc/passwd", "/etc/no such file", "C:\\Windows\\win.ini", "\\\\server\\share\\a.png"):
        folder(tmp_path, f"{PLAIN}{name},malignant,P9\n")
        with pytest.raises(ValueError, match="is outside the folder"):
            list_labelled_folder(tmp_path)


def test_the_codes_of_web_addresses_lead_nowhere_outside(tmp_path: Path) -> None:
    write_picture(tmp_path / "out.png", made_picture(9, 64))
    said = set()
    for name in ("..%2Fout.png", "..%2Fno such file.png"):
        folder(tmp_path / "set", f"{PLAIN}{name},malignant,P9\n")
        with pytest.raises(FileNotFoundError) as caught:
            list_labelled_folder(tmp_path / "set")
        said.add(str(caught.value).replace(name, ""))
    assert len(said) == 1


def test_a_name_in_another_encoding_is_said_to_be_one(tmp_path: Path) -> None:
    table = "file,label,patient_id\nKörper.png,benign,P1\n".encode("mac_roman")
    with pytest.raises(FileNotFoundError, match=r"do not exist: K.rper\.png \(line 2\); if letters look wrong, save"):
        list_labelled_folder(folder(tmp_path, table, files=("Körper.png",)))


def test_a_folder_that_is_a_link_leads_outside(tmp_path: Path) -> None:
    folder(tmp_path / "elsewhere")
    root = folder(tmp_path / "set", f"{PLAIN}linked/a.png,malignant,P9\n")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"line 6, column file: linked/a.png is a link"):
        list_labelled_folder(root)


def test_the_folder_itself_may_be_reached_through_a_link(tmp_path: Path) -> None:
    folder(tmp_path / "set")
    (tmp_path / "link").symlink_to("set")
    images = list_labelled_folder(tmp_path / "link")
    assert [image.path for image in images] == [tmp_path / "link" / file for file in FILES]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("e.png\n", "line 6 has no label and no patient_id"),
        ("e.png,benign\n", "line 6 has no patient_id"),
        (",benign,P9\n", "line 6 has no file"),
        ("e.png,benign,\u00a0\n", "line 6 has no patient_id"),
        ("e.png,benign,1.23457E+11\n", "line 6, column patient_id: '1.23457E.11' is a number that .* has shortened"),
        ("e.png,benign,#N/A\n", "line 6, column patient_id: '#N/A' is a placeholder for a missing value"),
        ("e.png,lipoma,P9\n", "line 6, column label: no known label set contains all of benign, lipoma, malignant"),
        ("f.png,benign,P9\n", r"1 of 5 images .* do not exist: f.png \(line 6\)"),
        ("a,1.png,benign,P9\n", "line 6: 4 cells in 3 columns"),
        ('"e.png,benign,P9\n', "line 6: .* never closed"),
    ],
)
def test_an_error_names_the_line_and_what_is_expected(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        list_labelled_folder(folder(tmp_path, PLAIN + more, files=(*FILES, "e.png")))


SPELLINGS = ("P{}", "P{} ", "p{}", "P{}\u00a0", "\ufeffP{}", "Ｐ{}")


def spelled(root: Path) -> list[LabelledImage]:
    """Twelve patients with six images each, every one written in another way."""
    lines = [
        f"{n}-{number}.png,{'benign' if n % 2 else 'malignant'},{how.format(n)}"
        for n in range(1, 13)
        for number, how in enumerate(SPELLINGS)
    ]
    files = tuple(line.split(",")[0] for line in lines)
    return list_labelled_folder(folder(root, "\n".join(["file,label,patient_id", *lines]), files=files))


def test_a_patient_written_in_several_ways_is_one_and_that_is_said(tmp_path: Path) -> None:
    images = spelled(tmp_path)
    assert {image.patient_id for image in images} == {f"P{n}" for n in range(1, 13)}
    assert len(describe_merged(images)) == 12
    (caution,) = dataset_cautions("folder", tmp_path, images)
    assert (caution.kind, caution.text) == (
        "patients merged",
        "12 patients are each spelled in several ways and treated as one",
    )
    assert caution.subject is not None
    assert caution.subject.startswith("'P1', ")


def test_a_patient_written_in_several_ways_is_on_one_side_of_every_fold(tmp_path: Path) -> None:
    images = spelled(tmp_path)
    as_written = [LabelledImage(image.path, image.label, image.written_patient, "", image.dataset) for image in images]
    for train, validation in (*patient_folds(images, 3, 0), *patient_folds(as_written, 3, 0)):
        numbers = [{image.path.name.split("-")[0] for image in side} for side in (train, validation)]
        assert not numbers[0] & numbers[1]
    with pytest.raises(ValueError, match="the same patients are in train and in validation: P1"):
        check_apart([image for image in as_written if image.patient_id == "P1"], as_written[:6])


def test_pictures_that_a_table_does_not_name_are_told_with_the_reason(tmp_path: Path) -> None:
    images = list_labelled_folder(folder(tmp_path))
    assert find_left_out("folder", tmp_path, images) == ()
    write_picture(tmp_path / "more" / "e.png", made_picture(9, 64))
    (tmp_path / "more" / "phone").write_bytes((tmp_path / "more" / "e.png").read_bytes())
    (tmp_path / "f.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    (tmp_path / "g.PNG").write_bytes(b"no picture")
    (tmp_path / "h.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "linked").symlink_to("more")
    (tmp_path / "README.txt").write_text("about these images")
    (tmp_path / ".hidden.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert [(one.file, one.reason) for one in find_left_out("folder", tmp_path, images)] == [
        ("f.HEIC", "it is a HEIC or AVIF picture, which is not supported"),
        ("g.PNG", "it is not a picture that can be recognised"),
        ("h.jpg", "the link is broken"),
        ("linked", "links to folders are not followed"),
        ("more/e.png", "the table of labels does not list it"),
        ("more/phone", "the table of labels does not list it"),
    ]
    cautions = dataset_cautions("folder", tmp_path, images)
    assert cautions[0].words == (
        "2 pictures in the folder are not used: the table of labels does not list it (such as more/e.png)"
    )
    assert len(cautions) == 5
