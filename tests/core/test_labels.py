"""Label sets check themselves and know which classes are malignant."""

import pytest

from core.labels import BACH, BINARY, BREAKHIS, IDC, MAGNIFICATIONS, LabelSet, magnification_index


@pytest.mark.parametrize(
    ("label_set", "classes", "malignant"), [(BINARY, 2, 1), (BREAKHIS, 8, 4), (BACH, 4, 2), (IDC, 2, 1)]
)
def test_the_known_sets_have_their_published_numbers_of_classes(
    label_set: LabelSet, classes: int, malignant: int
) -> None:
    assert len(label_set.classes) == classes
    assert len(label_set.malignant_indices) == malignant


def test_a_phyllodes_tumour_is_benign_and_a_mucinous_carcinoma_malignant() -> None:
    assert BREAKHIS.malignancy("phyllodes_tumor") == "benign"
    assert BREAKHIS.malignancy("mucinous_carcinoma") == "malignant"


def test_malignant_indices_follow_the_order_of_outputs() -> None:
    assert BREAKHIS.malignant_indices == (4, 5, 6, 7)
    assert LabelSet("turned", ("cancer", "none"), ("cancer",)).malignant_indices == (0,)


def test_a_class_of_another_set_has_no_malignancy() -> None:
    with pytest.raises(ValueError, match="'in_situ' is not a class of breakhis"):
        BREAKHIS.malignancy("in_situ")


@pytest.mark.parametrize(
    ("classes", "malignant", "message"),
    [
        (("a",), ("a",), "at least two"),
        (("a", "a"), ("a",), "at least two different"),
        (("a", "b"), ("c",), "not among"),
        (("a", "b"), (), "at least one malignant"),
        (("a", "b"), ("a", "b"), "one benign"),
    ],
)
def test_a_set_that_contradicts_itself_is_refused(
    classes: tuple[str, ...], malignant: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSet("odd", classes, malignant)


@pytest.mark.parametrize(
    ("word", "label"), [("in_situ", "in_situ"), (" In Situ ", "in_situ"), ("BENIGN", "benign"), ("situ", None)]
)
def test_a_class_is_found_by_its_name_whatever_its_case_and_blanks(word: str, label: str | None) -> None:
    assert BACH.find(word) == label


def test_magnifications_are_counted_upwards_and_other_words_are_unknown() -> None:
    assert [magnification_index(word) for word in MAGNIFICATIONS] == [0, 1, 2, 3]
    assert {magnification_index(word) for word in (None, "", "40x", "20X")} == {4}
