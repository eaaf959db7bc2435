from pathlib import Path

import pytest

from core.datasets import LabelledImage, UnknownNameError, breakhis

NAMES = (
    "SOB_B_A-14-22549AB-40-001.png",
    "SOB_B_PT-14-21998AB-100-002.png",
    "SOB_M_DC-14-13412-100-003.png",
    "SOB_M_LC-14-13412-200-004.png",
    "SOB_M_PC-15-190EF-400-005.png",
)


def put(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_the_name_of_an_image_tells_label_patient_and_magnification(tmp_path: Path) -> None:
    images = breakhis(put(tmp_path))
    assert [(i.label, i.patient_id, i.magnification, i.malignancy) for i in images] == [
        ("adenosis", "22549", "40X", "benign"),
        ("phyllodes_tumor", "21998", "100X", "benign"),
        ("ductal_carcinoma", "13412", "100X", "malignant"),
        ("lobular_carcinoma", "13412", "200X", "malignant"),
        ("papillary_carcinoma", "190", "400X", "malignant"),
    ]
    assert all(image.dataset == "breakhis" and image.path.is_file() for image in images)


@pytest.mark.parametrize("inside", [".", "BreaKHis_v1/histology_slides/breast/malignant/SOB"])
def test_a_tree_and_a_flat_folder_give_the_same(tmp_path: Path, inside: str) -> None:
    put(tmp_path / "data" / inside)
    assert [image.path.name for image in breakhis(tmp_path / "data")] == sorted(NAMES)


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
        breakhis(tmp_path)
    assert name in str(caught.value)


def test_a_folder_without_images_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no PNG"):
        breakhis(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        breakhis(tmp_path / "absent")


def test_an_image_of_no_known_class_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="not a class"):
        LabelledImage(Path("a.png"), "lipoma", "1", "40X", "breakhis")
    with pytest.raises(ValueError, match="not a known dataset"):
        LabelledImage(Path("a.png"), "adenosis", "1", "40X", "elsewhere")


@pytest.mark.data
def test_the_real_subset_has_24_patients(shared_data: Path) -> None:
    images = breakhis(shared_data / "breakhis")
    assert len(images) == 240
    assert len({image.patient_id for image in images}) == 24
    assert len({image.patient_id for image in images if image.malignancy == "benign"}) == 8
    both = {image.label for image in images if image.patient_id == "13412"}
    assert both == {"ductal_carcinoma", "lobular_carcinoma"}
