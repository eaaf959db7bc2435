"""A name that looks like a person or a number is told as such, and the usual names of cases and images are not."""

import string
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.reading.identifying_words import GIVEN_NAMES, OTHER_WORDS, SURNAMES, find_identifying_reasons
from tests.helpers.names import identifying_examples, usual_names

EXAMPLES = 200


@pytest.mark.parametrize(
    "name",
    [
        *("C-0042", "S24-1234", "SOB_M_DC-14-2523-100-001", "IMG_1234", "scan_20x_3", "14-22549AB", "24-S-00123"),
        *(
            "Invasive Ductal",
            "Fibroadenoma, Phyllodes",
            "Left Breast",
            "TCGA-A1-A0SB-01Z",
            "2024-00123-A",
            "scan 2024-03",
        ),
        *("3f9a1c22-b0e4-4d11-9d5e-123456789012", "e3b0c44298fc1c149afbf4c8996fb924", "Ki67 20%, grade 2", "", "ß"),
    ],
)
def test_usual_names_do_not_warn(name: str) -> None:
    assert find_identifying_reasons(name) == ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *(
            (one, "what looks like a person's name")
            for one in ("Garcia_Maria", "Smith, John", "SMITH^JOHN", "garcia maria")
        ),
        *(
            (one, "what looks like a person's name")
            for one in ("MariaGarcia", "Achterberg Tuuli", "Patient Kvist", "müller")
        ),
        *((one, "a title before a name") for one in ("Dr. Kvist", "Mrs_Obermoser", "seen by Frau A. Dzurko")),
        *(
            (one, "a full date, perhaps of birth")
            for one in ("1956-03-12", "12.03.1956", "3/12/1956", "19560312", "12031956")
        ),
        *(
            (one, "a full date, perhaps of birth")
            for one in ("12.3.56", "dob 12-3-56", "geb. 12", "12 Mar 1956", "May 3, 1956")
        ),
        ("078-05-1120", "a social security number"),
        ("943 476 5919", "an NHS number"),
        ("811218-9876", "a personal identity number"),
        ("19811218-9876", "a personal identity number"),
        ("1 55 08 75 123 456 78", "a French NIR"),
        ("756.9217.0769.85", "a Swiss AHV number"),
        ("12345678Z", "a Spanish identity number"),
        ("RSSMRA85T10A562S", "an Italian codice fiscale"),
        ("a.b@example.org", "an e-mail address"),
        ("+49 170 1234567", "a phone number"),
        ("(415) 555-0132", "a phone number"),
        ("06 12 34 56 78", "a phone number"),
        ("MRN: 0012345", "a record or insurance number"),
        ("123456789", "a number of 9 digits or more"),
    ],
)
def test_what_identifies_is_told_with_its_reason(name: str, reason: str) -> None:
    assert reason in find_identifying_reasons(name)


@pytest.mark.parametrize(
    ("warns", "does_not"),
    [
        ("123456789", "12345678"),
        ("943 476 5919", "943 476 591"),
        ("12345678Z", "12345678A"),
        ("1956-12-31", "1956-13-31"),
        ("811218-9876", "811318-9876"),
        ("Achterberg Tuuli", "Achterberg image"),
        ("mrn 1234", "mrn 123"),
        ("030-123456", "03-012345"),
        ("Patient Kvist", "Patient Sample"),
    ],
)
def test_each_limit_has_two_sides(warns: str, does_not: str) -> None:
    assert find_identifying_reasons(warns) != ()
    assert find_identifying_reasons(does_not) == ()


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d"]))
def test_every_full_date_is_found_in_every_order(day: date, order: str) -> None:
    assert "a full date, perhaps of birth" in find_identifying_reasons(f"scan {day.strftime(order)} a")


@given(
    st.sampled_from(sorted(GIVEN_NAMES)),
    st.sampled_from(sorted(SURNAMES)),
    st.sampled_from(["{} {}", "{}_{}", "{}, {}", "{}^{}", "{}-{}.png"]),
    st.sampled_from([str.title, str.upper, str.lower]),
)
def test_every_known_name_is_found_in_every_form(given_name: str, family: str, form: str, write: type[str]) -> None:
    assert find_identifying_reasons(write(form.format(given_name, family))) == ("what looks like a person's name",)


@pytest.mark.parametrize("announced", ["TEL", "FON", "FAX", "DOB", "GEB"])
def test_a_number_after_a_word_for_a_phone_or_a_birth_warns(announced: str) -> None:
    assert find_identifying_reasons(f"{announced}24-00123") != ()


@given(st.text(string.ascii_uppercase, max_size=3), st.integers(0, 99), st.integers(0, 99_999))
def test_no_accession_of_letters_year_and_number_warns(letters: str, year: int, number: int) -> None:
    # "TEL24-00123" announces a phone number and "DOB24-00123" a date of birth: both are rightly warned of.
    if letters.casefold() not in GIVEN_NAMES | SURNAMES | {"tel", "fon", "fax", "dob", "geb"}:
        assert find_identifying_reasons(f"{letters}{year:02}-{number:05}") == ()


@given(st.lists(st.sampled_from(sorted(OTHER_WORDS)), min_size=1, max_size=4), st.integers(0, 9999))
def test_words_of_the_field_do_not_warn_in_any_case_of_letters(words: list[str], number: int) -> None:
    # "hospital 1234" is the number of a patient in that hospital, and rightly warned of.
    assume(not (words[-1] == "hospital" and number > 999))
    plain = " ".join(words)
    if not any(
        month in plain for month in ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
    ):
        assert (
            find_identifying_reasons(f"{plain} {number}") == find_identifying_reasons(f"{plain.title()}_{number}") == ()
        )


@given(st.text(max_size=60))
def test_any_text_at_all_gives_reasons_that_repeat_nothing_of_it(text: str) -> None:
    for reason in find_identifying_reasons(text):
        assert reason in REASONS


REASONS = {
    *("a title before a name", "what looks like a person's name", "a full date, perhaps of birth", "an e-mail address"),
    *("a phone number", "a social security number", "a Swiss AHV number", "a French NIR", "a Brazilian CPF"),
    *("an Italian codice fiscale", "a German pension insurance number", "an NHS number", "a personal identity number"),
    *("a Spanish identity number", "a record or insurance number", "a number of 9 digits or more"),
}


def test_nine_of_ten_made_up_identifiers_are_found() -> None:
    missed = Counter(kind for kind, name in identifying_examples(7, EXAMPLES) if not find_identifying_reasons(name))
    found = EXAMPLES - missed.total()
    print(f"found {found} of {EXAMPLES}; missed by kind: {dict(missed)}")
    assert found >= 0.9 * EXAMPLES
    assert set(missed) <= {"name"}


def test_no_usual_name_of_two_thousand_warns() -> None:
    warned = [name for name in usual_names(7, 2000) if find_identifying_reasons(name)]
    print(f"false alarms: {len(warned)} of 2000")
    assert warned == []


def test_no_file_name_of_the_real_datasets_warns(shared_data: Path) -> None:
    names = [path.name for path in shared_data.rglob("*.png")]
    assert names
    assert [name for name in names if find_identifying_reasons(name)] == []
