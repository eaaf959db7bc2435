"""The figures of agreement as the page and the CSV files show them."""

import csv
import io
from dataclasses import replace

from core.statistics.rates import Rate
from pages.ui.agreement.drawing import draw_matrix
from pages.ui.agreement.figures import (
    Matrix,
    Table,
    couple_matrices,
    measure_reader_model,
    measure_reader_reader,
    measure_reveal,
    model_matrices,
)
from pages.ui.csv_tables import agreement_csv, readings_csv
from tests.helpers.readings import made_readings, reading


def test_cases_behind_every_figure_are_as_many_as_the_figure_says() -> None:
    readings = made_readings(30)
    tables: list[Table] = [
        measure_reader_reader(readings),
        measure_reveal(readings, {}),
        measure_reveal(readings, {1: "benign"}),
    ]
    for table in tables:
        for line in table.lines:
            for cell in line.cells:
                if isinstance(cell.value, Rate) and "readers" not in line.name:
                    assert len({one.case_id for one in cell.readings}) in (cell.value.n, cell.value.hits)
    matrices: list[Matrix] = [*model_matrices(readings, "all readers"), *couple_matrices(readings, ("dr. a", "dr. b"))]
    for each in matrices:
        sizes = [len(cell.readings) // (1 if "model" in each.raters else 2) for cell in each.cells]
        assert sizes == [count for row in each.counts for count in row]
        assert sum(sizes) == (90 if "model" in each.raters else 30)


def test_a_matrix_shows_what_could_not_be_assessed_where_it_occurs() -> None:
    (counted, _) = model_matrices(
        [reading(1, None, "benign", "benign"), reading(2, "benign", "benign", "benign")], "dr. a"
    )
    assert counted.rows == ("○ benign", "▲ malignant", "◇ cannot assess")
    assert counted.columns == ("○ benign", "▲ malignant")
    assert counted.counts == ((1, 0), (0, 0), (1, 0))


def lines(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def test_the_figures_as_csv_hold_n_and_interval() -> None:
    readings = made_readings(20)
    found = lines(agreement_csv([("Reader and reader", measure_reader_reader(readings))]).data)
    rate, kappa = found[0], found[1]
    assert (rate["of"], rate["figure"], rate["n"]) == ("dr. a and dr. b", "same label before the reveal", "20")
    assert float(rate["low"]) < float(rate["value"]) == int(rate["hits"]) / 20 < float(rate["high"])
    assert (kappa["hits"], kappa["n"]) == ("", "20")
    alike = lines(agreement_csv([("x", measure_reader_reader([reading(1, "benign", reader=r) for r in "ab"]))]).data)
    assert [(line["value"], line["low"]) for line in alike[1:3]] == [("", ""), ("", "")]


def test_the_readings_as_csv_are_one_line_each_and_no_formula() -> None:
    name = '=HYPERLINK("x")'
    found = lines(readings_csv([reading(1, "benign", "malignant", "malignant", reader=name)], {1: "benign"}).data)
    assert found[0]["reader"] == f"'{name}"
    assert [found[0][column] for column in ("first_label", "final_label", "model_label", "reference_label")] == [
        "benign",
        "malignant",
        "malignant",
        "benign",
    ]
    unfinished = replace(reading(2, None), accession="@SUM(A1)")
    line = lines(readings_csv([unfinished], {}).data)[0]
    assert (line["case"], line["first_label"], line["final_label"]) == ("'@SUM(A1)", "cannot assess", "")


def test_names_of_readers_are_no_markup_in_a_matrix() -> None:
    odd = "<b>[x](http://y)"
    readings = [reading(1, "benign", "benign", "benign", reader=name) for name in (odd, "dr. z")]
    drawn = draw_matrix(couple_matrices(readings, (odd, "dr. z"))[0], 0, "#000").to_json()
    assert "<b>" not in drawn
    assert "\\u003cb\\u003e" not in drawn


def test_what_is_left_out_is_counted() -> None:
    readings = [reading(1, None, "benign", "benign", reader=name) for name in "ab"]
    readings += [reading(2, "benign", "benign", "benign", reader=name) for name in "ab"]
    assert [
        table.left_out
        for table in (measure_reader_model(readings), measure_reader_reader(readings), measure_reveal(readings, {}))
    ] == [
        2,
        1,
        2,
    ]
    assert measure_reveal(readings, {2: "benign"}).left_out == 2
