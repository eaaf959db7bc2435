from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from core.data.datasets import LabelledImage, list_breakhis, parse_breakhis_name
from core.data.splits import (
    Fold,
    FoldLine,
    Split,
    check_apart,
    dealt_folds,
    is_fold_list,
    official_folds,
    patient_folds,
    read_fold_lists,
    shuffle_split,
    stratified_split,
)
from core.fitting.config import Protocol
from tests.helpers.images.dataset_trees import breakhis_tree, fold_lists

Cut = Callable[[list[LabelledImage], Protocol], Split]
CutFolds = Callable[[Sequence[LabelledImage], int, int], list[Fold]]


def images_of(patients: int, each: int = 3) -> list[LabelledImage]:
    """Every third patient is benign; patient 0 has two benign subtypes, as 21998 has."""
    made = []
    for patient in range(patients):
        for number in range(each + patient % 2):
            benign = "phyllodes_tumor" if patient == 0 and number else "fibroadenoma"
            label = benign if patient % 3 == 0 else "ductal_carcinoma"
            made.append(LabelledImage(Path(f"{patient}-{number}.png"), label, str(patient), "100X", "breakhis"))
    return made


def patients_of(images: tuple[LabelledImage, ...] | list[LabelledImage]) -> set[str]:
    return {image.patient_id for image in images}


@pytest.mark.parametrize("cut", [patient_folds, dealt_folds])
@pytest.mark.parametrize("seed", range(8))
def test_no_patient_is_on_both_sides_and_every_image_is_held_out_once(cut: CutFolds, seed: int) -> None:
    images = images_of(24)
    held_out = []
    for train, validation in cut(images, 5, seed):
        assert not patients_of(train) & patients_of(validation)
        assert len(train) + len(validation) == len(images)
        assert {i.malignancy for i in validation} == {i.malignancy for i in train} == {"benign", "malignant"}
        held_out += validation
    assert sorted(str(i.path) for i in held_out) == sorted(str(i.path) for i in images)


@pytest.mark.parametrize("cut", [patient_folds, dealt_folds])
def test_the_same_seed_gives_the_same_folds_and_another_gives_others(cut: CutFolds) -> None:
    images = images_of(24)
    assert cut(images, 4, 1) == cut(images, 4, 1)
    assert cut(images, 4, 1) != cut(images, 4, 2)


@pytest.mark.parametrize("seed", range(8))
def test_a_patient_with_images_of_both_kinds_leaves_no_fold_without_one(seed: int) -> None:
    mixed = [
        LabelledImage(Path(f"{patient}-{label}.png"), label, str(patient), "100X", "breakhis")
        for patient in range(100, 110)
        for label in ("fibroadenoma", "ductal_carcinoma")
    ]
    images = [*images_of(24), *mixed]
    for _, validation in dealt_folds(images, 5, seed):
        assert {image.malignancy for image in validation} == {"benign", "malignant"}


def test_dealt_folds_have_equal_numbers_of_patients_and_seeds_that_differ_much() -> None:
    images = images_of(30)
    dealt = [[patients_of(held_out) for _, held_out in dealt_folds(images, 5, seed)] for seed in range(6)]
    assert {len(fold) for folds in dealt for fold in folds} == {6}
    assert len({tuple(sorted(map(tuple, map(sorted, folds)))) for folds in dealt}) == 6


@pytest.mark.parametrize("cut", [patient_folds, dealt_folds])
def test_too_few_benign_patients_are_refused_with_their_number(cut: CutFolds) -> None:
    with pytest.raises(ValueError, match="5 folds need 5 benign patients, but there are 3"):
        cut(images_of(9), 5, 0)


def test_a_straddling_patient_is_named() -> None:
    images = images_of(4)
    with pytest.raises(ValueError, match="train and in validation: 2"):
        check_apart([i for i in images if i.patient_id in "012"], [i for i in images if i.patient_id in "23"])
    check_apart(images[:3], images[3:])


@pytest.mark.parametrize("cut", [stratified_split, shuffle_split])
@pytest.mark.parametrize("seed", range(4))
def test_a_split_has_every_image_once_and_no_patient_twice(
    cut: Callable[[list[LabelledImage], Protocol], Split], seed: int
) -> None:
    images = images_of(60)
    split = cut(images, Protocol(seed=seed))
    sides = (split.train, split.validation, split.test)
    assert Counter(i.path for side in sides for i in side) == Counter(i.path for i in images)
    assert sum(len(patients_of(side)) for side in sides) == 60
    assert all({i.malignancy for i in side} == {"benign", "malignant"} for side in sides)
    for side in sides[1:]:
        assert 0.10 < len(side) / len(images) < 0.20


def test_a_share_of_more_than_half_is_halved() -> None:
    images = images_of(60)
    split = stratified_split(images, Protocol(test=0.3, validation=0.6))
    assert len(split.test) / len(images) == pytest.approx(1 / 3, abs=0.05)
    assert len(split.validation) == pytest.approx(len(split.train), abs=len(images) // 20)


def test_a_stratified_split_keeps_the_share_of_malignant_images() -> None:
    images = images_of(60)
    split = stratified_split(images, Protocol())
    for side in (split.train, split.validation, split.test):
        share = sum(i.malignancy == "malignant" for i in side) / len(side)
        assert share == pytest.approx(2 / 3, abs=0.05)


# Images of each patient by subtype, much as in a subset of BreaKHis: a few patients have most of the benign ones.
UNEVEN = {
    "adenosis": (19,),
    "fibroadenoma": (16, 4, 1),
    "phyllodes_tumor": (17, 1, 17),
    "tubular_adenoma": (2, 17),
    "ductal_carcinoma": (4, 12, 8, 6, 2),
    "lobular_carcinoma": (7, 1),
    "mucinous_carcinoma": (10, 16, 1, 15),
    "papillary_carcinoma": (16, 17, 1, 16, 13),
}


def uneven(sizes_by_label: Mapping[str, Sequence[int]]) -> list[LabelledImage]:
    return [
        LabelledImage(Path(f"{label}-{patient}-{n}.png"), label, f"{label}-{patient}", "100X", "breakhis")
        for label, sizes in sizes_by_label.items()
        for patient, size in enumerate(sizes)
        for n in range(size)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_a_stratified_split_of_uneven_patients_stays_balanced(seed: int) -> None:
    images = uneven(UNEVEN)
    split = stratified_split(images, Protocol(seed=seed))
    for side in (split.train, split.validation, split.test):
        share = sum(i.malignancy == "malignant" for i in side) / len(side)
        assert share == pytest.approx(0.62, abs=0.2)
        assert len(side) / len(images) == pytest.approx(0.7 if side is split.train else 0.15, abs=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_a_subtype_of_one_patient_stays_in_training(seed: int) -> None:
    sizes = {"fibroadenoma": [7, 4] * 3, "adenosis": [5], "ductal_carcinoma": [7, 4] * 3, "papillary_carcinoma": [5]}
    split = stratified_split(uneven(sizes), Protocol(seed=seed))
    assert {i.label for i in split.train} == set(sizes)


def test_both_kinds_on_a_side_come_before_every_subtype_in_training() -> None:
    sizes = {
        "adenosis": (8, 12),
        "phyllodes_tumor": (8,),
        "fibroadenoma": (5,),
        "papillary_carcinoma": (9, 4),
        "lobular_carcinoma": (4,),
        "ductal_carcinoma": (7, 9),
    }
    split = stratified_split(uneven(sizes), Protocol())
    assert all({i.malignancy for i in side} == {"benign", "malignant"} for side in (split.validation, split.test))


def test_of_equally_balanced_parts_the_one_of_the_right_size_is_held_out() -> None:
    images = uneven({"adenosis": (10, 9, 5), "papillary_carcinoma": (8, 8, 9, 9)})
    assert len(stratified_split(images, Protocol()).test) / len(images) < 0.25  # the other parts have 0.31 and 0.45


def test_a_shuffle_split_cuts_70_patients_as_the_hybrids_authors_do() -> None:
    split = shuffle_split(images_of(70), Protocol(kind="shuffle_split", seed=42))
    assert [len(patients_of(side)) for side in (split.train, split.validation, split.test)] == [48, 11, 11]


def test_three_patients_of_each_kind_are_enough_for_a_stratified_split_and_two_are_not() -> None:
    images = [i for i in images_of(9) if i.patient_id in "034678"[:6]] + images_of(2)[3:]
    assert len({i.patient_id for i in images if i.malignancy == "benign"}) == 3
    split = stratified_split(images, Protocol())
    assert all({i.malignancy for i in side} == {"benign", "malignant"} for side in (split.validation, split.test))
    with pytest.raises(ValueError, match="three benign and three malignant patients; one kind has 2"):
        stratified_split([i for i in images if i.patient_id != "0"], Protocol())


def test_slides_of_one_number_stay_together_whatever_their_letters(tmp_path: Path) -> None:
    images = list_breakhis(breakhis_tree(tmp_path))
    split = stratified_split(images, Protocol())
    where = {i.slide_id: n for n, side in enumerate((split.train, split.validation, split.test)) for i in side}
    assert where["14-22549AB"] == where["14-22549CD"]
    assert where["14-16184"] == where["14-16184CD"]
    assert where["14-21998AB"] == where["14-21998CD"]
    assert where["14-29960AB"] == where["14-29960CD"]


def test_a_split_with_a_shared_patient_or_without_a_kind_cannot_be_made() -> None:
    images = images_of(9)
    parts = [tuple(i for i in images if i.patient_id in ids) for ids in ("012", "345", "678")]
    Split(*parts)
    with pytest.raises(ValueError, match="in train and in test: 2"):
        Split(parts[0], parts[1], (*parts[2], *parts[0][-3:]))
    with pytest.raises(ValueError, match="validation has no benign or no malignant"):
        Split(parts[0], parts[1][:2], parts[2])
    with pytest.raises(ValueError, match="test has no benign or no malignant"):
        Split(parts[0], parts[1], ())


def a_fold(images: list[LabelledImage], *tested: str) -> dict[str, str]:
    return {i.path.name: "test" if i.slide_id in tested else "train" for i in images}


def test_official_folds_are_read_and_their_leaks_leave_training(tmp_path: Path) -> None:
    images = list_breakhis(breakhis_tree(tmp_path / "tree"))
    lists = fold_lists(
        tmp_path, {1: a_fold(images, "14-16184CD", "14-2523"), 2: a_fold(images, "14-3411F", "14-10926")}
    )
    (train, test), (other_train, other_test) = official_folds(images, lists)
    assert {i.slide_id for i in test} == {"14-16184CD", "14-2523"}
    assert not patients_of(train) & patients_of(test)
    assert len(images) - len(train) - len(test) == 2  # the two images of 14-16184, which is the same patient
    assert {i.slide_id for i in other_test} == {"14-3411F", "14-10926"}
    assert len(other_train) + len(other_test) == len(images)


def test_official_folds_say_which_images_they_do_not_know(tmp_path: Path) -> None:
    images = list_breakhis(breakhis_tree(tmp_path / "tree"))
    sides = a_fold(images, "14-2523")
    del sides[images[5].path.name]
    with pytest.raises(ValueError, match=f"fold 1 does not list 1 images, such as {images[5].path.name}"):
        official_folds(images, fold_lists(tmp_path, {1: sides}))
    with pytest.raises(ValueError, match="fold 1 has no test images"):
        official_folds(images, fold_lists(tmp_path, {1: a_fold(images)}))


def test_the_lists_of_the_release_and_both_tables_made_of_them_say_the_same(tmp_path: Path) -> None:
    name = "SOB_B_A-14-22549AB-40-001.png"
    lists = fold_lists(tmp_path / "lists", {1: {name: "train"}, 2: {name: "test"}})
    table, other = tmp_path / "folds.csv", tmp_path / "Folds.csv"
    table.write_text(f"filename,fold,split,magnification\n{name},1,train,40\n{name},2,test,40\n")
    other.write_text(f"fold,mag,grp,filename\n1,40,train,BreaKHis_v1/x/{name}\n2,40,test,BreaKHis_v1/x/{name}\n")
    expected = [FoldLine(name, 1, "train"), FoldLine(name, 2, "test")]
    for source in (lists, table, other):
        assert is_fold_list(source)
        assert read_fold_lists(source) == expected
    assert read_fold_lists(lists / "dsfold2.txt") == expected[1:]
    assert not is_fold_list(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.png|40|1\n", r"dsfold1.txt, line 1: expected file\|magnification\|fold\|side"),
        ("a.png|40|1|train\na.png|40|1|both\n", "line 2: .*train or test"),
        ("a.png|40|one|train\n", "line 1: .*a fold number"),
        ("a.png|40|1|train\na.png|40|1|test\n", "a.png is in train and in test of fold 1"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "dsfold1.txt").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_fold_lists(tmp_path)


def test_absent_lists_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no dsfold1.txt"):
        read_fold_lists(tmp_path)


@pytest.mark.data
def test_the_real_folds_have_5_times_7909_lines_and_their_leaks_leave_training(shared_data: Path) -> None:
    lists = shared_data / "breakhis" / "official_folds.csv"
    names = {line.file for line in read_fold_lists(lists)}
    images = [image for image in (parse_breakhis_name(Path(name)) for name in sorted(names)) if image]
    assert len(images) == 7909
    folds = official_folds(images, lists)
    assert [len(test) for _, test in folds] == [2904, 2403, 2577, 2698, 3083]
    assert [len(train) for train, _ in folds] == [4031, 4724, 4423, 4196, 4149]
    for train, test in folds:
        check_apart(train, test)
