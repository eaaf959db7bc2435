"""Cautions: whom or what they name stands in a field of its own, in documents of today and in those of before."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.card import Card, TrainingData
from core.data.datasets import LabelledImage
from core.labels import BINARY
from core.statistics.cautions import (
    Caution,
    CautionKind,
    ImageLeftOut,
    leak_caution,
    read_old_caution,
    read_old_image_left_out,
)
from core.statistics.evaluation import Evaluation
from core.statistics.shift import Shift
from db import store
from db.audit.verify import verify
from db.values.evaluations import NewEvaluation
from tests.helpers.databases import open_new
from tests.helpers.evaluations import made_evaluation
from tests.helpers.networks import SMALL_CARD
from tests.helpers.shifts import shifted
from training.evaluation.chosen_images import ChosenImage, ImageChoice, collect_cautions
from training.shifts.sets import unusable_image_cautions

KINDS: tuple[CautionKind, ...] = get_args(CautionKind)
PATIENT = "13412-telltale"

# What versions before had written, word for word, and what of it may be shown to all.
OLD_HARMLESS: tuple[tuple[CautionKind, str], ...] = (
    ("trained on", "2 of 12 patients were trained on: these figures flatter"),
    (
        "trained on",
        "1 of 8 patients bear a number that was trained on: if they are the same people, these figures flatter",
    ),
    ("trained on", "the network was trained on 6 of 6 patients of BreaKHis 100X: its AUC there flatters"),
    ("images missing", "1 of 5 out-of-fold images of the run are not in this folder"),
    (
        "fitted here",
        (
            "threshold and temperature were fitted to these predictions: sensitivity, specificity, accuracy and "
            "calibration flatter a little; AUC does not depend on them"
        ),
    ),
    ("lock unknown", "the card does not say which predictions its threshold and temperature were fitted to"),
    ("patients unknown", "every image counts as a patient of its own: intervals come out too narrow"),
    (
        "patients unknown",
        "the patients of BACH are not known: every image counts as a patient of its own: intervals come out too narrow",
    ),
    (
        "one malignancy",
        "all images are of one malignancy: there is no AUC, and only one of sensitivity and specificity",
    ),
    (
        "dataset incomplete",
        "the dataset is not complete: images: 8 of 7,909, 7,901 missing; 40X images: 0 of 1,995, 1,995 missing",
    ),
    ("shared patients", "4 patients are in both sets: they stay together wherever patients are drawn or dealt"),
    ("few patients", "only 4 patients of folder elsewhere: a difference has to be large to be seen"),
    ("images drawn", "8 of 12 images of folder elsewhere were drawn, see --most"),
    ("images left out", "3 more images of BACH left out for other reasons"),
    ("no AUC", "BACH has fewer than two benign or two malignant images: what helps cannot be measured"),
    ("no AUC", "BACH has fewer than two benign or two malignant images: there is no AUC to drop from"),
    ("no AUC", "scale matched (images x 1.25): too few benign or malignant images are left for an AUC"),
    (
        "scale not matched",
        "scale was not matched: this network sees the whole image in one square, whatever its size",
    ),
    ("scale not matched", "scale was not matched: no dark structures were found whose size could be compared"),
    ("scale not matched", "scale was not matched: images would have to be made 7.2 times larger"),
)
OLD_WITH_SUBJECT = (
    (
        f"patient {PATIENT} is in test and in train: the split leaks",
        Caution("split leaks", "a patient is in test and in train: the split leaks", PATIENT),
    ),
    (
        f"slide 14-{PATIENT}, 14-2 is in train and in validation: the split leaks",
        Caution("split leaks", "a slide is in train and in validation: the split leaks", f"14-{PATIENT}, 14-2"),
    ),
    (
        f"patient who is in {PATIENT} is in test and in train: the split leaks",
        Caution("split leaks", "a patient is in test and in train: the split leaks", f"who is in {PATIENT}"),
    ),
    (
        f"2 of 9 images of there left out: too dark (such as {PATIENT}.png)",
        Caution("images left out", "2 of 9 images of there left out: too dark", f"such as {PATIENT}.png"),
    ),
    (
        f"1 of 9 images of there, scale matched (images x 1.20), left out: too dark (limit 3) ({PATIENT} (2).png)",
        Caution(
            "images left out",
            "1 of 9 images of there, scale matched (images x 1.20), left out: too dark",
            f"limit 3) ({PATIENT} (2).png",
        ),
    ),
)


@given(kind=st.sampled_from(KINDS), text=st.text(), subject=st.text(min_size=1))
def test_however_a_caution_is_worded_its_subject_goes(kind: CautionKind, text: str, subject: str) -> None:
    caution = Caution(kind, text, subject)
    assert subject in caution.words
    assert caution.without_subject().words == text
    assert caution.without_subject() == Caution(kind, text)


def test_a_caution_without_a_subject_is_its_text() -> None:
    assert Caution("few patients", "only 4 patients").words == "only 4 patients"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("patient", "a patient is in test and in train: the split leaks (7)"),
        ("identical picture", "an identical picture is in test and in train: the split leaks (7)"),
    ],
)
def test_a_leak_says_what_is_on_both_sides_and_names_it_last(what: str, words: str) -> None:
    assert leak_caution(what, "test and in train", "7").words == words


def test_an_image_left_out_keeps_its_reason_without_its_file() -> None:
    image = ImageLeftOut(f"{PATIENT}/1.png", "the file cannot be read: Permission denied")
    assert image.words == f"{PATIENT}/1.png: the file cannot be read: Permission denied"
    assert image.without_file().words == "an image: the file cannot be read: Permission denied"


@pytest.mark.parametrize(("kind", "sentence"), OLD_HARMLESS)
def test_a_known_sentence_of_before_is_shown_to_all(kind: CautionKind, sentence: str) -> None:
    assert read_old_caution(sentence) == Caution(kind, sentence)


@pytest.mark.parametrize(("sentence", "caution"), OLD_WITH_SUBJECT)
def test_a_sentence_of_before_that_names_someone_is_taken_apart(sentence: str, caution: Caution) -> None:
    assert read_old_caution(sentence) == caution
    assert PATIENT not in caution.without_subject().words


@pytest.mark.parametrize(
    "sentence",
    [
        f"patient {PATIENT} stands on both sides",
        f"Patient {PATIENT} is in test and in train: the split leaks",
        f"patient {PATIENT} is in test and in train: the split leaks.",
        f"2 of 12 patients were trained on: these figures flatter, {PATIENT} above all",
        f"{PATIENT}\n2 of 12 patients were trained on: these figures flatter",
        f"2 of 9 images of there left out, too dark: {PATIENT}.png",
        f"2 of 9 images of there left out: {PATIENT}.png",
        PATIENT,
    ],
)
def test_an_unknown_sentence_of_before_is_its_own_subject(sentence: str) -> None:
    caution = read_old_caution(sentence)
    assert (caution.kind, caution.words) == ("unclassified", sentence)
    hidden = caution.without_subject().words
    assert hidden == "a caution from an older version is hidden because it may name a patient or a file"


@given(before=st.text(), behind=st.text())
def test_no_sentence_of_before_shows_a_patient_that_was_not_the_name_of_a_set(before: str, behind: str) -> None:
    for sentence in (f"{before}{PATIENT}{behind}", f"patient {before}{PATIENT}{behind} is in test: the split leaks"):
        assert PATIENT not in read_old_caution(sentence).without_subject().words


@pytest.mark.parametrize(
    ("line", "file", "reason"),
    [
        ("benign/blank.png: there is no tissue", "benign/blank.png", "there is no tissue"),
        ("a: b.png: the file cannot be read: no such file", "a: b.png: the file cannot be read", "no such file"),
        (f"{PATIENT}.png", f"{PATIENT}.png", "no prediction"),
    ],
)
def test_a_line_of_before_is_taken_apart_after_its_last_colon(line: str, file: str, reason: str) -> None:
    assert read_old_image_left_out(line) == ImageLeftOut(file, reason)


def _old_document(document: str, warnings: Sequence[str], excluded: Sequence[str] | None = None) -> str:
    """Write a document as versions before did, with sentences for cautions and lines for images left out."""
    fields = json.loads(document) | {"warnings": list(warnings)}
    return json.dumps(fields if excluded is None else fields | {"excluded": list(excluded)})


def test_an_evaluation_survives_json_with_all_kinds_of_cautions() -> None:
    said = tuple(Caution(kind, f"text of {kind}", subject) for kind in KINDS for subject in (None, PATIENT))
    found = replace(made_evaluation(BINARY), warnings=said, excluded=(ImageLeftOut("a.png", "x: y"),))
    assert Evaluation.from_json(found.to_json()) == found
    assert Evaluation.from_json(found.to_json()).to_json() == found.to_json()


def test_a_comparison_survives_json_with_all_kinds_of_cautions() -> None:
    said = tuple(Caution(kind, f"text of {kind}", subject) for kind in KINDS for subject in (None, PATIENT))
    found = replace(shifted(), warnings=said)
    assert Shift.from_json(found.to_json()) == found


def test_an_evaluation_of_before_is_read_into_fields_and_written_with_them() -> None:
    sentences = [sentence for _, sentence in OLD_HARMLESS] + [sentence for sentence, _ in OLD_WITH_SUBJECT]
    found = Evaluation.from_json(
        _old_document(made_evaluation(BINARY).to_json(), sentences, ["benign/blank.png: there is no tissue"])
    )
    expected = [Caution(*each) for each in OLD_HARMLESS] + [caution for _, caution in OLD_WITH_SUBJECT]
    assert list(found.warnings) == expected
    assert found.excluded == (ImageLeftOut("benign/blank.png", "there is no tissue"),)
    assert replace(found, warnings=(), excluded=()) == replace(made_evaluation(BINARY), warnings=(), excluded=())
    assert Evaluation.from_json(found.to_json()) == found


def test_a_comparison_of_before_is_read_into_fields() -> None:
    sentence, caution = OLD_WITH_SUBJECT[3]
    found = Shift.from_json(_old_document(shifted().to_json(), [sentence, "in other words"]))
    assert found.warnings == (caution, read_old_caution("in other words"))


@pytest.mark.parametrize("warning", ['{"kind": "split leaks"}', '{"kind": "made up", "text": "a"}', "7", "null"])
def test_what_is_neither_fields_nor_a_sentence_is_refused_with_its_place(warning: str) -> None:
    document = json.dumps(json.loads(made_evaluation(BINARY).to_json()) | {"warnings": [json.loads(warning)]})
    with pytest.raises(ValueError, match=r"not an evaluation: warnings\.0"):
        Evaluation.from_json(document)


def test_sealed_rows_of_before_open_stay_as_they_are_and_verify(tmp_path: Path) -> None:
    leak, left_out = OLD_WITH_SUBJECT[0][0], OLD_WITH_SUBJECT[3][0]
    evaluation = _old_document(made_evaluation(BINARY).to_json(), [leak], [f"{PATIENT}.png: there is no tissue"])
    shift = _old_document(shifted().to_json(), [left_out])
    sessions = open_new(tmp_path / "second_read.sqlite", data=tmp_path)
    with sessions.begin() as session:
        store.evaluations.add_evaluation(
            session, NewEvaluation("m", "3f9a1c22b0e4", "breakhis", "test", "x", evaluation), []
        )
        store.evaluations.add_shift(session, "here", "there", "3f9a1c22b0e4", shift)
    with sessions.read() as session:
        (row,), (pair,) = store.evaluations.evaluations(session, None), store.evaluations.shifts(session)
    assert Evaluation.from_json(row.document).warnings == (OLD_WITH_SUBJECT[0][1],)
    assert Shift.from_json(pair.document).warnings == (OLD_WITH_SUBJECT[3][1],)
    assert (row.document, pair.document) == (evaluation, shift)
    assert verify(sessions).findings == ()
    sessions.dispose()


def _image(patient: str, number: int, label: str) -> LabelledImage:
    return LabelledImage(Path(f"{patient}-{number}.png"), label, patient, "100X", "breakhis")


def test_what_training_says_of_a_leak_names_the_patient_in_the_subject_alone() -> None:
    images = [_image(PATIENT, n, "fibroadenoma") for n in range(2)] + [_image("8", 1, "ductal_carcinoma")]
    sides = tuple(zip(images, ("test", "train", "test"), strict=True))
    card: Card = replace(SMALL_CARD, training_data=TrainingData("BreaKHis", 4, 2, (PATIENT,)))
    choice = ImageChoice((ChosenImage(images[0]), ChosenImage(images[2])), sides)
    found = collect_cautions(choice, "breakhis", "test", lambda _: card)
    assert {"trained on", "split leaks"} <= {caution.kind for caution in found}
    assert any(PATIENT in caution.words for caution in found)
    assert not [caution for caution in found if PATIENT in caution.without_subject().words]


def test_what_training_says_of_files_left_out_names_them_in_the_subject_alone() -> None:
    reasons = [(f"{PATIENT}-{n}.png", f"reason {n % 10}") for n in range(25)]
    found = unusable_image_cautions(reasons, 30, "folder here")
    assert [caution.kind for caution in found] == ["images left out"] * 9
    assert found[0] == Caution(
        "images left out", "3 of 30 images of folder here were left out: reason 0", f"such as {PATIENT}-0.png"
    )
    assert found[-1] == Caution("images left out", "4 more images of folder here were left out for other reasons")
    assert not [caution for caution in found if PATIENT in caution.without_subject().words]
