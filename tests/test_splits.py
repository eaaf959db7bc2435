from pathlib import Path

import pytest

from core.datasets import LabelledImage
from core.splits import check_apart, patient_folds


def images_of(patients: int, each: int = 3) -> list[LabelledImage]:
    """Every third patient is benign; patient 0 has two benign subtypes, as 21998 has."""
    made = []
    for patient in range(patients):
        for number in range(each + patient % 2):
            benign = "phyllodes_tumor" if patient == 0 and number else "fibroadenoma"
            label = benign if patient % 3 == 0 else "ductal_carcinoma"
            made.append(LabelledImage(Path(f"{patient}-{number}.png"), label, str(patient), "100X", "breakhis"))
    return made


@pytest.mark.parametrize("seed", range(8))
def test_no_patient_is_on_both_sides_and_every_image_is_held_out_once(seed: int) -> None:
    images = images_of(24)
    held_out = []
    for train, validation in patient_folds(images, 5, seed):
        assert not {i.patient_id for i in train} & {i.patient_id for i in validation}
        assert len(train) + len(validation) == len(images)
        assert {i.malignancy for i in validation} == {i.malignancy for i in train} == {"benign", "malignant"}
        held_out += validation
    assert sorted(str(i.path) for i in held_out) == sorted(str(i.path) for i in images)


def test_the_same_seed_gives_the_same_folds_and_another_gives_others() -> None:
    images = images_of(24)
    assert patient_folds(images, 4, 1) == patient_folds(images, 4, 1)
    assert patient_folds(images, 4, 1) != patient_folds(images, 4, 2)


def test_too_few_benign_patients_are_refused_with_their_number() -> None:
    with pytest.raises(ValueError, match="5 folds need 5 benign patients, there are 3"):
        patient_folds(images_of(9), 5, 0)


def test_a_straddling_patient_is_named() -> None:
    images = images_of(4)
    with pytest.raises(ValueError, match="train and in validation: 2"):
        check_apart([i for i in images if i.patient_id in "012"], [i for i in images if i.patient_id in "23"])
    check_apart(images[:3], images[3:])
