"""The report of an evaluation: readable, complete, and inert whatever the files are called."""

import html
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from markdown_it import MarkdownIt

from core.card import Card, TrainingData
from core.statistics.cautions import Caution, ImageLeftOut
from core.statistics.evaluate import EvaluationDetails, build_evaluation
from core.statistics.evaluation import Evaluation
from tests.helpers.runs.checkpoints import SUBTYPE_CARD, TINY_CARD
from training.evaluation.predictions import JudgedImage, build_predictions_table, judgements_of
from training.evaluation.report import (
    NOT_REPORTED,
    RESEARCH_USE,
    fill_claim_checklist,
    find_confident_errors,
    write_evaluation,
)

HOSTILE = "<script>alert(1)</script>|[x](javascript:alert(2))\n# heading `code` \u202egnp.exe"


def made_image(number: int, *, malignant: bool, probability: float, patient: str = "") -> JudgedImage:
    """Make what was said of one image at a threshold of 0.5."""
    return JudgedImage(
        file=f"{number:03d}.png",
        sha256=f"{number:064x}",
        patient_id=patient or str(number // 2),
        magnification=("40X", "100X", "400X")[number % 3],
        dataset="breakhis",
        label="mucinous_carcinoma" if malignant else "adenosis",
        malignant=malignant,
        fold=None,
        probabilities=(1 - probability, probability),
        predicted="malignant" if probability >= 0.5 else "benign",
        malignant_probability=probability,
        called_malignant=probability >= 0.5,
    )


def made_images(count: int = 40) -> list[JudgedImage]:
    """Make images of half as many patients, mostly called rightly."""
    rng = np.random.default_rng(5)
    return [
        made_image(
            n, malignant=n % 4 < 2, probability=float(np.clip(rng.normal(0.65 if n % 4 < 2 else 0.35, 0.2), 0, 1))
        )
        for n in range(count)
    ]


def evaluation_of(images: list[JudgedImage], card: Card = TINY_CARD, **changes: object) -> Evaluation:
    """Measure made images."""
    about = EvaluationDetails(
        "tiny", "0" * 12, "breakhis", "test", "the test patients", 0.5, 1.5, "validation patients"
    )
    return build_evaluation(judgements_of(images, card), replace(about, **changes))  # type: ignore[arg-type]


def _reports(
    folder: Path, evaluation: Evaluation, images: list[JudgedImage], card: Card = TINY_CARD
) -> tuple[str, str]:
    write_evaluation(folder, evaluation, card, images)
    return (folder / "report.html").read_text(), (folder / "report.md").read_text()


def test_a_report_says_research_use_what_was_locked_and_every_figure(tmp_path: Path) -> None:
    images = made_images()
    evaluation = evaluation_of(images, warnings=(Caution("trained on", "3 of 20 patients were trained on"),))
    for text in _reports(tmp_path, evaluation, images):
        assert RESEARCH_USE in text
        assert "Nothing was fitted in this evaluation" in text
        assert "validation patients" in text
        assert "3 of 20 patients were trained on" in text
        assert all(figure.name in html.unescape(text) for figure in evaluation.figures)
        assert text.index("40X") < text.index("100X") < text.index("400X")


def test_hostile_names_are_inert_in_the_html(tmp_path: Path) -> None:
    page, _ = _hostile_reports(tmp_path)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"<a\b", page)
    assert "\u202e" not in page
    assert "default-src 'none'" in page


def test_hostile_names_are_inert_in_the_markdown(tmp_path: Path) -> None:
    _, markdown = _hostile_reports(tmp_path)
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    assert "<script" not in shown
    assert "<a " not in shown
    assert shown.count("<h1>") == 1
    assert "<code>" not in shown
    assert "\u202e" not in shown
    columns = {row.count("<td") for row in shown.split("<tr>") if "alert(1)" in row and "carcinoma" in row}
    assert columns == {6}


def _hostile_reports(folder: Path) -> tuple[str, str]:
    images = [
        replace(image, file=f"{HOSTILE}{image.file}", patient_id=f"{HOSTILE}{n // 2}", magnification=HOSTILE)
        for n, image in enumerate(made_images())
    ]
    card = replace(
        TINY_CARD,
        name=HOSTILE,
        note=HOSTILE,
        locked_on=HOSTILE,
        code_version=HOSTILE,
        config={"keep": HOSTILE},
        training_data=TrainingData(HOSTILE, 1, 1, (HOSTILE,)),
    )
    evaluation = evaluation_of(
        images,
        card,
        model_name=HOSTILE,
        protocol=HOSTILE,
        locked_on=HOSTILE,
        warnings=(Caution("trained on", HOSTILE, HOSTILE), Caution("unclassified", "", HOSTILE)),
        excluded=(ImageLeftOut(HOSTILE, HOSTILE),),
    )
    return _reports(folder, evaluation, images, card)


def test_the_checklist_has_every_item_and_admits_what_nobody_wrote_down() -> None:
    items = fill_claim_checklist(evaluation_of(made_images()), TINY_CARD)
    assert [item.number for item in items] == list(range(1, 45))
    by_number = {item.number: item for item in items}
    assert by_number[44].answer == by_number[36].answer == by_number[25].answer == NOT_REPORTED
    assert by_number[20].answer == "patient"
    assert "20 patients" in by_number[35].answer
    assert by_number[2].section == "Title and abstract"
    assert by_number[44].section == "Other information"


def test_an_evaluation_on_other_data_is_external() -> None:
    items = fill_claim_checklist(evaluation_of(made_images(), dataset="bach"), TINY_CARD)
    assert not items[31].reported
    assert items[32].answer.startswith("bach")


def test_the_most_confident_mistakes_come_first() -> None:
    images = [
        made_image(1, malignant=True, probability=0.4),
        made_image(2, malignant=False, probability=0.99),
        made_image(3, malignant=True, probability=0.9),
        made_image(4, malignant=True, probability=0.05),
    ]
    assert [image.file for image in find_confident_errors(images)] == ["002.png", "004.png", "001.png"]


def test_predictions_name_the_classes_and_the_fold() -> None:
    image = replace(made_image(1, malignant=True, probability=0.9), fold=2)
    silent = replace(image, file="silent.png", probabilities=(), reason="blank")
    table = build_predictions_table([image, silent], TINY_CARD, "out-of-fold")
    assert list(table["split"]) == ["fold 2", "fold 2"]
    assert table.loc[0, "p_malignant"] == 0.9
    assert table["p_benign"].isna().tolist() == [False, True]
    assert list(table["reason"]) == ["", "blank"]


@pytest.mark.parametrize("card", [TINY_CARD, SUBTYPE_CARD], ids=["two classes", "eight classes"])
def test_plots_are_pictures_and_the_same_ones_each_time(tmp_path: Path, card: Card) -> None:
    images = made_images()
    if card is SUBTYPE_CARD:
        images = [
            replace(i, probabilities=(1 - i.malignant_probability, *[0.0] * 5, i.malignant_probability, 0.0))
            for i in images
        ]
    evaluation = evaluation_of(images, card)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write_evaluation(folder, evaluation, card, images)
    names = sorted(path.name for path in first.glob("*.png"))
    assert ("confusion-8.png" in names) == (card is SUBTYPE_CARD)
    for name in names:
        picture = cv2.imread(str(first / name))
        assert picture is not None
        assert picture.std() > 1
        assert (first / name).read_bytes() == (second / name).read_bytes()
