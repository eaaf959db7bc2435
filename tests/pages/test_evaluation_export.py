"""The CSV files of an evaluation."""

import csv
import io
from dataclasses import replace

from core.labels import BINARY
from pages.ui.csv_tables import TableFile, figures_csv, predictions_csv
from tests.helpers.evaluations import made_evaluation, made_images


def rows_of(file: TableFile) -> list[list[str]]:
    return list(csv.reader(io.StringIO(file.data.decode("utf-8-sig"))))


def test_every_figure_is_there_to_the_last_digit() -> None:
    found = made_evaluation(BINARY)
    head, first, *rest = rows_of(figures_csv(found))
    assert head == ["of", "name", "figure", "unit", "n", "value", "low", "high"]
    figure = found.figures[0]
    assert first == ["all", "", figure.name, "image", "60", str(figure.value), str(figure.low), str(figure.high)]
    assert len(rest) + 1 == len(found.figures) + sum(len(group.figures) for group in found.groups)
    assert {row[0] for row in rest} == {"all", "magnification", "subtype", "patient"}


def test_every_image_stands_with_its_probabilities() -> None:
    images = made_images(BINARY)
    head, first, *rest = rows_of(predictions_csv(images, BINARY.classes))
    assert head[-2:] == ["p_benign", "p_malignant"]
    assert first[:2] == ["slides/000.png", images[0].patient_id]
    assert [float(one) for one in first[-2:]] == list(images[0].probabilities)
    assert len(rest) + 1 == len(images)
    noted = [replace(images[0], notes=("only the first of 2 pages is used",))]
    head, row = rows_of(predictions_csv(noted, BINARY.classes))
    assert row[head.index("notes")] == "only the first of 2 pages is used"


def test_a_spreadsheet_runs_nothing_of_it() -> None:
    hostile = replace(made_images(BINARY)[0], name="=1+1", patient_id="@sum", label="-2", magnification="\t=a")
    _, row = rows_of(predictions_csv([hostile], BINARY.classes))
    assert row[:4] == ["'=1+1", "'@sum", "'\t'=a", "'-2"]
    figures = (replace(made_evaluation(BINARY).figures[0], name="=cmd"),)
    assert rows_of(figures_csv(replace(made_evaluation(BINARY), figures=figures)))[1][2] == "'=cmd"
