"""What researchers see of results: numbers that stay, in place of the names of images and patients."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.labels import BINARY
from core.statistics.cautions import Caution, ImageLeftOut, ImageNote, leak_caution
from core.statistics.evaluation import Evaluation
from core.statistics.shift import Shift
from db import store
from db.values.accounts import Role
from pages.ui.csv_tables import figures_csv, predictions_csv
from pages.ui.without_names import (
    assign_numbers,
    evaluation_without_names,
    images_without_names,
    readings_without_names,
    shift_without_names,
)
from tests.helpers.browser_tab import open_page
from tests.helpers.databases import open_new
from tests.helpers.evaluations import add_evaluation, made_evaluation, made_images
from tests.helpers.gate import GateClient
from tests.helpers.readings import made_readings
from tests.helpers.server import running_server
from tests.helpers.shifts import shifted
from tests.helpers.world import PASSWORD

_LEAK = leak_caution("patient", "test and in train", "13412-telltale")
_OLD_LEFT_OUT = "2 of 9 images of there left out: too dark (limit 3) (such as 13412-telltale.png)"


def test_an_evaluation_keeps_its_figures_and_loses_its_names() -> None:
    note = ImageNote("13412-telltale.tif", "only the first of 2 pages is used")
    cautions = (_LEAK, Caution("few patients", "another caution"))
    found = replace(made_evaluation(BINARY), warnings=cautions, notes=(note,))
    numbers = assign_numbers("the document", found)
    hidden = evaluation_without_names(found, numbers)
    assert (hidden.figures, hidden.confusions) == (found.figures, found.confusions)
    names = [group.name for group in hidden.groups if group.kind == "patient"]
    assert sorted(names, key=int) == [str(number) for number in range(1, 13)]
    assert hidden.excluded == (ImageLeftOut(None, "there is no tissue in this image"),)
    assert [image.words for image in hidden.excluded] == ["an image: there is no tissue in this image"]
    assert [one.words for one in hidden.notes] == ["an image: only the first of 2 pages is used"]
    words = [caution.words for caution in hidden.warnings]
    assert words == ["a patient is in test and in train: the split leaks", "another caution"]
    real = next(group for group in found.groups if group.kind == "patient")
    same = next(group for group in hidden.groups if group.name == str(numbers.patients[real.name]))
    assert replace(same, name=real.name) == real
    assert numbers.patient_of(same.name) == real.name


def test_numbers_last_and_do_not_follow_the_order_of_the_dataset() -> None:
    found, images = made_evaluation(BINARY), made_images(BINARY)
    numbers = assign_numbers("the document", found)
    hidden = images_without_names(images, numbers)
    assert hidden == images_without_names(images, assign_numbers("the document", found))
    given = [int(image.name.removeprefix("image ")) for image in hidden]
    assert len(set(given)) == len(given)
    assert given != sorted(given)
    assert given != [int(one.name.split()[1]) for one in images_without_names(images, assign_numbers("x", found))]


def test_the_files_have_no_names_either() -> None:
    found = made_evaluation(BINARY)
    numbers = assign_numbers("the document", found)
    images = images_without_names(made_images(BINARY), numbers)
    hidden = evaluation_without_names(found, numbers)
    text = (predictions_csv(images, BINARY.classes).data + figures_csv(hidden).data).decode()
    patients = {image.patient_id for image in made_images(BINARY)}
    assert ".png" not in text
    assert not [one for one in patients if not one.isdecimal() and one in text]


def test_the_points_of_a_comparison_have_numbers_for_patients() -> None:
    text = "2 of 9 images of there, given, left out: too dark (limit 3)"
    shift = replace(shifted(), warnings=(Caution("images left out", text, "such as a.png"),))
    hidden = shift_without_names(shift, "the document")
    assert [point.x for point in hidden.points] == [point.x for point in shift.points]
    people = {(point.side, point.patient_id) for point in shift.points}
    assert {point.patient_id for point in hidden.points} == {str(n) for n in range(1, len(people) + 1)}
    assert [caution.words for caution in hidden.warnings] == [text]


@pytest.mark.parametrize(
    "text", ["13412-telltale leaks", "of whom there is more than one", "a patient is left out: on both sides (of it)"]
)
def test_a_caution_in_other_words_loses_its_subject_too(text: str) -> None:
    caution = Caution("split leaks", text.removeprefix("13412-telltale "), "13412-telltale")
    found = replace(made_evaluation(BINARY), warnings=(caution,))
    hidden = evaluation_without_names(found, assign_numbers("the document", found))
    assert "13412-telltale" in found.to_json()
    assert "13412-telltale" not in hidden.to_json()
    shift = replace(shifted(), warnings=(caution,))
    assert "13412-telltale" not in shift_without_names(shift, "the document").to_json()


@pytest.mark.parametrize(
    "sentence",
    ["patient 13412-telltale is in test and in train: the split leaks", "13412-telltale leaks", _OLD_LEFT_OUT],
)
def test_documents_of_before_lose_their_names_too(sentence: str) -> None:
    lines = {"warnings": [sentence], "excluded": ["13412-telltale.png: there is no tissue"]}
    document = json.dumps(json.loads(made_evaluation(BINARY).to_json()) | lines)
    found = Evaluation.from_json(document)
    hidden = evaluation_without_names(found, assign_numbers(document, found))
    assert "13412-telltale" in found.to_json()
    assert "13412-telltale" not in hidden.to_json()
    document = json.dumps(json.loads(shifted().to_json()) | {"warnings": [sentence]})
    shift = Shift.from_json(document)
    assert "13412-telltale" in shift.to_json()
    assert "13412-telltale" not in shift_without_names(shift, document).to_json()


def test_readings_have_other_numbers_each_time_and_stay_what_they_are() -> None:
    readings = made_readings(12)
    hidden = readings_without_names(readings)
    assert {one.reader for one in hidden} == {"reader 1", "reader 2", "reader 3"}
    assert len({one.accession for one in hidden}) == 12
    assert sorted((one.case_id, one.first.label or "") for one in hidden) == sorted(
        (one.case_id, one.first.label or "") for one in readings
    )
    again = [[one.accession for one in readings_without_names(readings)] for _ in range(3)]
    cases = [[one.case_id for one in readings_without_names(readings)] for _ in range(3)]
    assert len({tuple(each) for each in again}) == 1
    assert len({tuple(each) for each in cases}) > 1


def test_durations_do_not_tell_which_reading_it_is_and_stay_those_of_their_reader() -> None:
    readings = [
        replace(
            one,
            first=replace(one.first, seconds=61.3 + place),
            final=replace(one.final, seconds=7.0) if one.final else None,
        )
        for place, one in enumerate(made_readings(12))
    ]
    hidden, again = readings_without_names(readings), readings_without_names(readings)
    names = ("reader 1", "reader 2", "reader 3")
    told = [sorted(one.first.seconds for one in hidden if one.reader == name) for name in names]
    own = [
        sorted(5 * round(one.first.seconds / 5) for one in readings if one.reader == name)
        for name in ("dr. a", "dr. b", "dr. c")
    ]
    assert sorted(told) == sorted(own), "rounded, and exchanged within a reader only"
    assert {one.final.seconds for one in hidden if one.final} == {5}
    assert [one.first.seconds for one in hidden] != [one.first.seconds for one in again]


@pytest.fixture
def gate_and_cookies(tmp_path: Path, quick_passwords: None) -> Iterator[tuple[GateClient, dict[Role, str]]]:
    """A server with an evaluation, and a signed-in browser of each role."""
    sessions = open_new(tmp_path / "second_read.sqlite")
    found = replace(made_evaluation(BINARY), warnings=(_LEAK,))
    images = [replace(image, patient_id=image.patient_id) for image in made_images(BINARY)]
    add_evaluation(sessions, found, images)
    shift = json.dumps(json.loads(shifted().to_json()) | {"warnings": [_OLD_LEFT_OUT, "13412-telltale leaks"]})
    with sessions.begin() as session:
        store.evaluations.add_shift(session, "here", "there", "0123456789ab", shift)
        for role in (Role.RESEARCHER, Role.READER):
            store.accounts.add_signing_account(session, None, f"the {role}", role, PASSWORD)
    with running_server(tmp_path, "127.0.0.1") as server:
        gate = GateClient(server.port, sessions)
        yield gate, {role: gate.cookie(f"the {role}") for role in (Role.RESEARCHER, Role.READER)}
    sessions.dispose()


@pytest.mark.slow
def test_no_name_reaches_the_browser_of_a_researcher(gate_and_cookies: tuple[GateClient, dict[Role, str]]) -> None:
    gate, cookies = gate_and_cookies
    words = open_page(gate.port, cookies[Role.RESEARCHER], "evaluation").words
    assert "a patient is in test" in words
    assert "benign/blank.png" not in words
    assert "13412-telltale" not in words
    known = open_page(gate.port, cookies[Role.READER], "evaluation").words
    assert "benign/blank.png" in known
    assert "13412-telltale" in known


@pytest.mark.slow
def test_no_name_of_a_comparison_of_before_reaches_the_browser_of_a_researcher(
    gate_and_cookies: tuple[GateClient, dict[Role, str]],
) -> None:
    gate, cookies = gate_and_cookies
    words = open_page(gate.port, cookies[Role.RESEARCHER], "domain_shift").words
    assert "2 of 9 images of there left out" in words
    assert "too dark" in words
    assert "a caution from an older version is hidden" in words
    assert "13412-telltale" not in words
    known = open_page(gate.port, cookies[Role.READER], "domain_shift").words
    assert "such as 13412-telltale" in known
    assert "13412-telltale leaks" in known
