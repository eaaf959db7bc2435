from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from core.data.datasets import (
    OFFICIAL_COUNTS,
    DatasetName,
    LabelledImage,
    UnknownNameError,
    describe_shortfall,
    list_bach,
    list_breakhis,
    list_idc,
    list_labelled_folder,
    load_dataset,
    load_folders,
    parse_breakhis_name,
)
from core.data.left_out import describe_merged, find_left_out
from core.data.stated_scales import with_stated_scales
from core.labels import BACH, BINARY, BREAKHIS, IDC
from tests.helpers.images.dataset_trees import PATIENTS, SLIDES, bach_tree, breakhis_tree, idc_tree

NAMES = (
    "SOB_B_A-14-22549AB-40-001.png",
    "SOB_B_PT-14-21998AB-100-002.png",
    "SOB_M_DC-14-13412-100-003.png",
    "SOB_M_LC-14-13412-200-004.png",
    "SOB_M_PC-15-190EF-400-005.png",
)


def put(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_the_name_of_an_image_tells_label_patient_slide_and_magnification(tmp_path: Path) -> None:
    images = list_breakhis(put(tmp_path))
    assert [(i.label, i.patient_id, i.slide_id, i.magnification, i.malignancy) for i in images] == [
        ("adenosis", "22549", "14-22549AB", "40X", "benign"),
        ("phyllodes_tumor", "21998", "14-21998AB", "100X", "benign"),
        ("ductal_carcinoma", "13412", "14-13412", "100X", "malignant"),
        ("lobular_carcinoma", "13412", "14-13412", "200X", "malignant"),
        ("papillary_carcinoma", "190", "15-190EF", "400X", "malignant"),
    ]
    assert all(image.dataset == "breakhis" and image.path.is_file() for image in images)


@pytest.mark.parametrize("name", [".Trash", "@eaDir", "__MACOSX"])
def test_copies_in_folders_that_systems_keep_are_no_images(tmp_path: Path, name: str) -> None:
    images = list_breakhis(put(tmp_path))
    put(tmp_path / name)
    assert list_breakhis(tmp_path) == images
    assert find_left_out("breakhis", tmp_path, images) == ()


@pytest.mark.parametrize("flat", [False, True])
def test_the_official_tree_and_a_flat_folder_give_the_same(tmp_path: Path, *, flat: bool) -> None:
    images = list_breakhis(breakhis_tree(tmp_path / "BreaKHis_v1", flat=flat))
    assert len(images) == 2 * len(SLIDES)
    assert [image.path.name for image in images] == sorted(image.path.name for image in images)
    assert len({image.patient_id for image in images}) == PATIENTS
    assert {i.label for i in images if i.patient_id == "13412"} == {"ductal_carcinoma", "lobular_carcinoma"}
    assert {i.slide_id for i in images if i.patient_id == "16184"} == {"14-16184", "14-16184CD"}
    assert {i.label for i in images if i.patient_id == "21998"} == {"phyllodes_tumor", "fibroadenoma"}
    assert {i.label for i in images if i.patient_id == "29960"} == {"adenosis", "fibroadenoma"}


@pytest.mark.parametrize(
    "name",
    [
        "SOB_B_DC-14-1-100-001.png",  # a carcinoma that calls itself benign
        "SOB_M_XX-14-1-100-001.png",
        "SOB_M_DC-14-AB-100-001.png",
        "SOB_M_DC-14-1-150-001.png",
        "SOB_M_DC-14-1-100-001 (copy).png",
        "holiday.png",
    ],
)
def test_a_name_against_the_rule_is_reported_and_not_dropped(tmp_path: Path, name: str) -> None:
    put(tmp_path, (*NAMES, name))
    with pytest.raises(UnknownNameError, match="1 of 6") as caught:
        list_breakhis(tmp_path)
    assert name in str(caught.value)


def test_litter_of_another_system_is_no_image(tmp_path: Path) -> None:
    put(tmp_path, (*NAMES, "._SOB_B_A-14-22549AB-40-001.png"))
    assert len(list_breakhis(tmp_path)) == len(NAMES)


@pytest.mark.parametrize("name", ["breakhis", "bach", "idc", "folder"])
def test_a_folder_without_images_is_said_so(tmp_path: Path, name: DatasetName) -> None:
    with pytest.raises(FileNotFoundError, match=r"there (are|is) no .*(PNG|TIF|labels.csv)"):
        load_dataset(name, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no .*absent"):
        load_dataset(name, tmp_path / "absent")


def test_an_image_of_no_known_class_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="not a class"):
        LabelledImage(Path("a.png"), "lipoma", "1", "40X", "breakhis")
    with pytest.raises(ValueError, match="not a known dataset"):
        LabelledImage(Path("a.png"), "adenosis", "1", "40X", "elsewhere")
    with pytest.raises(ValueError, match="no patient_id"):
        LabelledImage(Path("a.png"), "adenosis", "", "40X", "breakhis")


def test_a_class_is_a_position_in_its_own_label_set_or_its_malignancy() -> None:
    image = LabelledImage(Path("a.png"), "lobular_carcinoma", "1", "40X", "breakhis")
    assert image.class_in(BREAKHIS) == BREAKHIS.classes.index("lobular_carcinoma")
    assert image.class_in(BINARY) == 1
    assert LabelledImage(Path("n.tif"), "normal", "1", "", "bach").class_in(BINARY) == 0
    for other in (BACH, IDC):
        with pytest.raises(ValueError, match=f"no {other.name} classes"):
            image.class_in(other)


def test_bach_reads_folder_and_table_and_takes_every_image_for_a_patient(tmp_path: Path) -> None:
    images = load_dataset("bach", bach_tree(tmp_path))
    assert [(i.path.name, i.label, i.patient_id) for i in images][:3] == [
        ("b001.tif", "benign", "b001"),
        ("b002.tif", "benign", "b002"),
        ("is001.tif", "in_situ", "is001"),
    ]
    assert {image.label for image in images} == set(BACH.classes)
    assert len({image.patient_id for image in images}) == len(images) == 8


def test_bach_needs_only_one_of_folder_and_table(tmp_path: Path) -> None:
    by_folder = list_bach(bach_tree(tmp_path / "folders", table=False))
    root = bach_tree(tmp_path / "table")
    for path in sorted(root.rglob("*.tif")):
        path.rename(root / "Photos" / path.name)
    assert [(i.path.name, i.label) for i in list_bach(root)] == [(i.path.name, i.label) for i in by_folder]
    (root / "Photos" / "microscopy_ground_truth.csv").unlink()
    with pytest.raises(UnknownNameError, match="8 of 8 files do not follow the naming rule of BACH"):
        list_bach(root)


def test_bach_refuses_a_table_that_contradicts_the_folder(tmp_path: Path) -> None:
    root = bach_tree(tmp_path)
    table = root / "Photos" / "microscopy_ground_truth.csv"
    table.write_text(table.read_text().replace("n001.tif,Normal", "n001.tif,InSitu"))
    with pytest.raises(ValueError, match=r"n001.tif is in the folder Normal, but .* labels it InSitu"):
        list_bach(root)


def test_bach_takes_patients_from_a_table_that_names_every_image(tmp_path: Path) -> None:
    root = bach_tree(tmp_path)
    names = sorted(path.name for path in root.rglob("*.tif"))
    rows = [f"{name},{number // 2}" for number, name in enumerate(names)]
    (root / "patients.csv").write_text("\n".join(["file,patient_id", *rows]))
    images = list_bach(root)
    assert [image.patient_id for image in images] == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert all(image.patient_known for image in images)


@pytest.mark.parametrize("place", ["below", "beside", "given"])
def test_bach_takes_a_partial_table_and_every_other_image_for_a_patient_of_its_own(tmp_path: Path, place: str) -> None:
    root = bach_tree(tmp_path / "bach")
    table = {"below": root, "beside": tmp_path, "given": tmp_path / "elsewhere"}[place] / "bach_patients.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text("image,patient\nb001.tif,11\nb002.tif,11\niv001.tif,11\niv999.tif,12\n")
    images = load_dataset("bach", root, patients=table if place == "given" else None)
    assert [(image.patient_id, image.patient_known) for image in images] == [
        ("11", True),
        ("11", True),
        ("is001", False),
        ("is002", False),
        ("11", True),
        ("iv002", False),
        ("n001", False),
        ("n002", False),
    ]


def test_a_table_of_patients_that_names_none_of_the_images_is_refused(tmp_path: Path) -> None:
    root = bach_tree(tmp_path)
    table = tmp_path / "elsewhere.csv"
    table.write_text("x001.tif,11\n")
    with pytest.raises(ValueError, match=r"elsewhere.csv names the patient of none of the 8 images"):
        list_bach(root, table)
    with pytest.raises(FileNotFoundError):
        list_bach(root, tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="a table of patients is for BACH only"):
        load_dataset("idc", idc_tree(tmp_path / "idc"), patients=table)


@pytest.mark.data
def test_the_organisers_name_29_patients_of_145_images(shared_data: Path, tmp_path: Path) -> None:
    rows = (shared_data / "bach_patients.csv").read_text().splitlines()[1:]
    folders = {"n": "Normal", "b": "Benign", "is": "InSitu", "iv": "Invasive"}
    for name in [*(row.partition(",")[0] for row in rows), "n999.tif"]:
        path = tmp_path / "Photos" / folders[name.rstrip(".tif0123456789")] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    images = list_bach(tmp_path, shared_data / "bach_patients.csv")
    known = [image for image in images if image.patient_known]
    assert (len(images), len(known), len({image.patient_id for image in known})) == (146, 145, 29)


def test_datasets_know_the_scale_of_their_images(tmp_path: Path) -> None:
    scales = {image.magnification: image.um_per_px for image in list_breakhis(breakhis_tree(tmp_path / "breakhis"))}
    assert scales == {"40X": 0.49, "100X": 0.20}
    found = [parse_breakhis_name(Path(f"SOB_B_A-14-22549AB-{power}-001.png")) for power in (200, 400)]
    assert [image.um_per_px for image in found if image] == [0.10, 0.05]
    assert {image.um_per_px for image in list_bach(bach_tree(tmp_path / "bach"))} == {0.42}
    assert {image.um_per_px for image in load_dataset("idc", idc_tree(tmp_path / "idc"))} == {4.0}


def _scaled_folder(root: Path) -> Path:
    """Write two TIFFs, of which one states 0.25 µm, and a PNG that states nothing."""
    root.mkdir(exist_ok=True)
    pixels = np.full((40, 40, 3), 200, np.uint8)
    for name, dots, unit in (("a.tif", 40_000, "CENTIMETER"), ("b.tif", 300, "INCH")):
        tifffile.imwrite(
            root / name, pixels, photometric="rgb", metadata=None, resolution=(dots, dots), resolutionunit=unit
        )
    Image.fromarray(pixels).save(root / "c.png")
    return root


@pytest.mark.parametrize(
    ("cells", "scales"), [(("", "0.5", "0,42"), [None, 0.5, 0.42]), (("0.3", "", ""), [0.3, None, None])]
)
def test_a_folder_states_scales_in_a_column_and_else_its_files_do(
    tmp_path: Path, cells: tuple[str, ...], scales: list[float | None]
) -> None:
    root = _scaled_folder(tmp_path)
    rows = [f"{name};benign;{name};{cell}" for name, cell in zip(("a.tif", "b.tif", "c.png"), cells, strict=True)]
    (root / "labels.csv").write_text("\n".join(["file;label;patient_id;um per px", *rows]))
    images = load_dataset("folder", root)
    assert [image.um_per_px for image in images] == scales
    filled = with_stated_scales(images)
    assert [image.um_per_px for image in filled] == [scales[0] or pytest.approx(0.25), *scales[1:]]
    assert [image.path for image in filled] == [image.path for image in images]


@pytest.mark.parametrize("cell", ["0", "-0.2", "nan", "inf", "300", "40X", "0.2 um"])
def test_a_scale_that_is_none_is_refused_with_its_line(tmp_path: Path, cell: str) -> None:
    root = _scaled_folder(tmp_path)
    (root / "labels.csv").write_text(f"file,label,patient_id,um_per_px\na.tif,benign,1,0.2\nb.tif,benign,1,{cell}\n")
    with pytest.raises(
        ValueError, match=rf"labels.csv, line 3, column um_per_px: '{cell}' is not a scale in µm per pixel"
    ):
        load_dataset("folder", root)


@pytest.mark.parametrize(
    ("table", "patients"),
    [
        ("sep=;\nPatient ID;File\n{}", ["P1", "P1", "P1", "P2", "P2", "P2", "P2", "P2"]),
        ("{}", ["P1", "P1", "P1", "P2", "P2", "P2", "P2", "P2"]),
    ],
)
def test_bach_takes_the_patients_of_a_table_however_they_are_written(
    tmp_path: Path, table: str, patients: list[str]
) -> None:
    root = bach_tree(tmp_path)
    names = sorted(path.name for path in root.rglob("*.tif"))
    written = ("P1", "p1", "P1\u00a0", "P2", "P2 ", "\u200bP2", "p2", "Ｐ2")
    swapped = table.startswith("sep")
    pairs = [(who, f"Photos\\{name.upper()}") for name, who in zip(names, written, strict=True)]
    lines = [";".join(pair if swapped else pair[::-1]) for pair in pairs]
    (root / "Patients.CSV").write_text(table.format("\n".join(lines)), encoding="utf-16")
    images = list_bach(root)
    assert [image.patient_id for image in images] == patients
    assert describe_merged(images)[0] == "'P1', 'p1' and 'P1\\xa0'"


def test_bach_refuses_a_table_that_gives_an_image_two_patients(tmp_path: Path) -> None:
    root = bach_tree(tmp_path)
    (root / "patients.csv").write_text("b001.tif,P1\nb001.tif ,p1\nB001.tif,P2\n")
    with pytest.raises(ValueError, match=r"patients.csv, line 3: b001.tif has another patient_id"):
        list_bach(root)
    (root / "patients.csv").write_text("b001.tif,P1\nb002.tif\n")
    with pytest.raises(ValueError, match=r"patients.csv, line 2 has no patient_id"):
        list_bach(root)


def test_files_are_taken_by_what_they_are_and_by_their_names_without_the_suffix(tmp_path: Path) -> None:
    put(tmp_path, (*NAMES[:3], "SOB_B_A-14-22549AB-40-009.PNG"))
    jpeg = b"\xff\xd8\xff\xe0" + bytes(200)
    (tmp_path / "SOB_M_DC-14-13412-100-005.jfif").write_bytes(jpeg)
    (tmp_path / "SOB_M_DC-14-13412-100-006").write_bytes(jpeg)
    (tmp_path / "SOB_B_A-14-22549AB-40-001.jpg").write_bytes(jpeg)  # a copy of one that is there as PNG
    (tmp_path / "lunch.jpg").write_bytes(jpeg)
    (tmp_path / "SOB_M_DC-14-13412-100-007.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    (tmp_path / "README.txt").write_text("of BreaKHis")
    images = list_breakhis(tmp_path)
    assert [image.path.name for image in images] == [
        "SOB_B_A-14-22549AB-40-001.png",
        "SOB_B_A-14-22549AB-40-009.PNG",
        "SOB_B_PT-14-21998AB-100-002.png",
        "SOB_M_DC-14-13412-100-003.png",
        "SOB_M_DC-14-13412-100-005.jfif",
        "SOB_M_DC-14-13412-100-006",
    ]
    assert [one.words for one in find_left_out("breakhis", tmp_path, images)] == [
        "SOB_B_A-14-22549AB-40-001.jpg: an image of the same name is used instead",
        "SOB_M_DC-14-13412-100-007.heic: it is a HEIC or AVIF picture, which is not supported",
        "lunch.jpg: its name does not follow the naming rule",
    ]


def test_the_slides_and_thumbnails_of_a_release_are_not_left_out(tmp_path: Path) -> None:
    root = bach_tree(tmp_path)
    (root / "WSI").mkdir()
    (root / "WSI" / "A01.svs").write_bytes(b"II*\0" + bytes(200))
    assert find_left_out("bach", root, list_bach(root)) == ()


def test_idc_reads_patient_and_class_from_the_name(tmp_path: Path) -> None:
    images = load_dataset("idc", idc_tree(tmp_path))
    assert len(images) == 12
    assert {image.patient_id for image in images} == {"8863", "10253", "16570"}
    assert all(image.label == IDC.classes[int(image.path.parent.name)] for image in images)


def test_a_copy_that_holds_all_idc_patients_twice_is_read_once(tmp_path: Path) -> None:
    idc_tree(idc_tree(tmp_path) / "IDC_regular_ps50_idx5")
    assert len(list_idc(tmp_path)) == 12


def test_an_idc_patch_in_the_wrong_folder_is_reported(tmp_path: Path) -> None:
    put(tmp_path, ("8863/0/8863_idx5_x1_y1_class0.png", "8863/0/8863_idx5_x1_y51_class1.png"))
    with pytest.raises(UnknownNameError, match=r"1 of 2 .*x1_y51_class1"):
        list_idc(tmp_path)


def test_many_idc_patches_are_listed_without_being_opened(tmp_path: Path) -> None:
    names = [f"{p}/{n % 2}/{p}_idx5_x{n}_y1_class{n % 2}.png" for p in range(10) for n in range(500)]
    put(tmp_path, tuple(names))  # files without a byte
    assert len(list_idc(tmp_path)) == 5000


def write_table(folder: Path, text: str) -> Path:
    put(folder, ("a/1.png", "2.png"))
    (folder / "labels.csv").write_text(text)
    return folder


def test_a_folder_of_ones_own_is_read_from_its_table(tmp_path: Path) -> None:
    text = "file,label,patient_id,magnification\na/1.png,malignant,p1,40X\n2.png,benign,p2,\n"
    images = load_dataset("folder", write_table(tmp_path, text))
    assert [(i.path.name, i.label, i.patient_id, i.magnification, i.dataset) for i in images] == [
        ("2.png", "benign", "p2", "", "binary"),
        ("1.png", "malignant", "p1", "40X", "binary"),
    ]
    assert describe_shortfall(images, "folder") == ()


@pytest.mark.parametrize(("labels", "dataset"), [(("in_situ", "benign"), "bach"), (("adenosis",) * 2, "breakhis")])
def test_the_labels_of_a_table_say_which_set_they_are_from(
    tmp_path: Path, labels: tuple[str, str], dataset: str
) -> None:
    text = f"file,label,patient_id\na/1.png,{labels[0]},p\n2.png,{labels[1]},p\n"
    assert {image.dataset for image in list_labelled_folder(write_table(tmp_path, text))} == {dataset}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("file,label\n2.png,benign\n", ValueError, "has no column patient_id"),
        ("file,label,patient_id\n2.png,lipoma,p\n", ValueError, "no known label set contains all of lipoma"),
        ("file,label,patient_id\n3.png,benign,p\n", FileNotFoundError, "1 of 1 images .* do not exist: 3.png"),
        ("file,label,patient_id\n2.png,benign,p\n2.png,malignant,p\n", ValueError, "more than once: 2.png"),
        ("file,label,patient_id\n2.png,benign,\n", ValueError, "no patient_id"),
        ("file,label,patient_id\n", FileNotFoundError, "there are no images in .*labels.csv"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(tmp_path: Path, text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        list_labelled_folder(write_table(tmp_path, text))


def complete(name: DatasetName) -> list[LabelledImage]:
    """Make as many images as a release has, of as many patients, without a file."""
    official = OFFICIAL_COUNTS[name]
    labels = [label for label, count in official.classes for _ in range(count)]
    words = [word for word, count in official.magnifications for _ in range(count)] or [""] * official.images
    patients = official.patients or official.images
    return [
        LabelledImage(Path(f"{n}.png"), label, str(n % patients), word, name)
        for n, (label, word) in enumerate(zip(labels, words, strict=True))
    ]


@pytest.mark.parametrize(
    ("name", "images"), [("breakhis", 7909), ("bach", 400), pytest.param("idc", 277_524, marks=pytest.mark.slow)]
)
def test_the_official_counts_are_complete_and_nothing_else_is(name: DatasetName, images: int) -> None:
    full = complete(name)
    assert len(full) == images
    assert describe_shortfall(full, name) == ()
    lines = describe_shortfall(full[1:], name)
    assert lines[0] == f"images: {images - 1:,} of {images:,}, 1 missing"
    assert any(line.startswith(f"{full[0].label} images: ") for line in lines)
    assert describe_shortfall([*full, full[0]], name)[0] == f"images: {images + 1:,} of {images:,}, 1 too many"


@pytest.mark.data
def test_the_real_subset_has_24_patients(shared_data: Path) -> None:
    images = list_breakhis(shared_data / "breakhis")
    assert len(images) == 240
    assert len({image.patient_id for image in images}) == 24
    assert len({image.patient_id for image in images if image.malignancy == "benign"}) == 8
    both = {image.label for image in images if image.patient_id == "13412"}
    assert both == {"ductal_carcinoma", "lobular_carcinoma"}
    assert describe_shortfall(images, "breakhis")[0] == "images: 240 of 7,909, 7,669 missing"


@pytest.mark.data
def test_the_real_idc_patches_are_read(shared_data: Path) -> None:
    images = list_idc(shared_data / "idc")
    assert len({image.patient_id for image in images}) == 11
    assert {image.label for image in images} == set(IDC.classes)


def test_a_dataset_in_two_folders_has_one_spelling_of_each_patient(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, patient in ((first, "P1"), (second, " p1")):
        folder.mkdir()
        (folder / "a.png").write_bytes(b"")
        (folder / "labels.csv").write_text(f"file,label,patient_id\na.png,benign,{patient}\n")
    images = load_folders("folder", [first, second])
    assert [image.path.parent for image in images] == [first, second]
    assert len({image.patient_id for image in images}) == 1


def test_a_folder_inside_another_is_not_listed_twice(tmp_path: Path) -> None:
    inner = put(tmp_path / "outer" / "inner")
    for folders in ([tmp_path / "outer", inner], [inner, tmp_path / "outer"], [inner, inner]):
        with pytest.raises(ValueError, match="would be listed twice"):
            load_folders("breakhis", folders)
