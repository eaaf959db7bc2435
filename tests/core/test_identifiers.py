import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.identifiers import (
    describe_loss,
    find_spellings,
    fold_identifier,
    fold_text,
    fold_word,
    show_spellings,
    tidy_identifier,
    unify_identifiers,
)


@pytest.mark.parametrize(
    "spelling",
    [
        "P-Müller 1 ",  # a blank behind
        "\tP-Müller 1\r\n",
        "p-müller 1",  # another case
        "P-MÜLLER 1",
        "P-Müller\u00a01",  # no-break space
        "\u3000P-Müller\u2009 1",  # an ideographic space in front, a thin one inside
        "P-Mu\u0308ller 1",  # decomposed
        "P-Müller 1\u200b",  # zero width
        "\ufeffP-Müller 1",
        "P-M\u00adüller 1",  # soft hyphen
        "P-Müller\u28001",  # the blank of braille
        "P-Müller 1\u3164",  # the filler of Hangul
        "Ｐ－Müller １",  # full width
        "P–Müller 1",  # an en dash, as Word writes it
        "P\u2011Müller 1",  # a hyphen that does not break
        "P\u2212Müller 1",
    ],
)
def test_one_identifier_is_the_same_however_it_is_written(spelling: str) -> None:
    assert fold_identifier(spelling) == fold_identifier("P-Müller 1")


@pytest.mark.parametrize("spelling", ["7", "07", "0000007", " 7", "7.0", "007.00", "７"])
def test_a_number_is_the_same_with_and_without_what_a_spreadsheet_adds(spelling: str) -> None:
    assert fold_identifier(spelling) == "7"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P1", "P01"),  # not a number: as different as P1 and P21 to a program
        ("P1", "P 1"),
        ("P1 23", "P12 3"),
        ("S24-1", "S24-10"),
        ("7", "70"),
        ("7.1", "7.10"),
        ("0", ""),
        ("Müller", "Muller"),
    ],
)
def test_different_identifiers_stay_different(one: str, other: str) -> None:
    assert fold_identifier(one) != fold_identifier(other)


def test_zero_is_a_number_too() -> None:
    assert fold_identifier("000") == fold_identifier("0") == fold_identifier("0.0") == "0"


@given(st.text())
@example("\u0345\u00ad\u0308")
@example("\u0130 \u1e9e")
def test_folding_what_is_folded_changes_nothing(text: str) -> None:
    assert fold_identifier(fold_identifier(text)) == fold_identifier(text)
    assert fold_text(fold_text(text)) == fold_text(text)


@given(st.text())
def test_composing_and_case_never_matter(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold_identifier(unicodedata.normalize(form, text)) == fold_identifier(text)
    assert fold_identifier(tidy_identifier(text)) == fold_identifier(text)


@pytest.mark.parametrize(
    "header", ["patient_id", "Patient_ID", " PATIENT ID ", "Patient-Id", "patientid", "\ufeffpatient_id"]
)
def test_a_word_is_compared_without_case_and_what_joins_its_parts(header: str) -> None:
    assert fold_word(header) == fold_word("patient_id")


def test_a_name_keeps_its_zeros() -> None:
    assert fold_text("007") == "007"


def test_every_identifier_takes_the_first_of_its_spellings() -> None:
    assert unify_identifiers(["P1 ", "p1", "P2", "007", "7", "P1"]) == ["P1", "P1", "P2", "007", "007", "P1"]


@given(st.lists(st.text(max_size=4)))
def test_unified_identifiers_are_equal_exactly_where_they_compare_equal(identifiers: list[str]) -> None:
    unified = unify_identifiers(identifiers)
    assert len(set(unified)) == len({fold_identifier(one) for one in identifiers})
    assert [fold_identifier(one) for one in unified] == [fold_identifier(one) for one in identifiers]


def test_what_is_one_although_written_in_several_ways_is_found() -> None:
    assert find_spellings(["P1", "P2", "p1", "P1 ", "P1", "07", "7"]) == [("P1", "p1", "P1 "), ("07", "7")]
    assert find_spellings(["P1", "P2", "P1"]) == []


def test_spellings_that_look_alike_are_shown_with_what_tells_them_apart() -> None:
    assert show_spellings(["P1", "p1"]) == "'P1' and 'p1'"
    assert show_spellings(["P1", "P1 ", "P1\u00a0"]) == "'P1', 'P1 ' and 'P1\\xa0'"
    assert show_spellings(["Mü", "Mu\u0308"]) == "'M\\xfc' and 'Mu\\u0308'"


@pytest.mark.parametrize("shortened", ["1E+05", "1.23457E+11", "1,23457E+11", " 2.0e+15 ", "-1E+100", "１E+05"])
def test_a_number_that_a_spreadsheet_has_shortened_is_no_identifier(shortened: str) -> None:
    assert "a spreadsheet has shortened" in describe_loss(shortened)


@pytest.mark.parametrize("absent", ["nan", "NaN", "NA", "n/a", "#N/A", "#NV", "#WERT!", "NULL", "None", "<NA>", "####"])
def test_what_programs_write_for_nothing_is_no_identifier(absent: str) -> None:
    assert "a placeholder for a missing value" in describe_loss(f" {absent}")


@pytest.mark.parametrize("identifier", ["", "100000", "E5", "1E05", "1E+5", "S24-1E+05", "Nan Li", "#1", "P1", "Nora"])
def test_every_other_identifier_may_be_meant(identifier: str) -> None:
    assert describe_loss(identifier) == ""
