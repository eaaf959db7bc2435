"""The figures of evaluations, looked at without a browser."""

from dataclasses import replace
from itertools import pairwise

import pytest

from core.labels import BACH, BINARY
from core.statistics.evaluation import Confusion, Figure, Group
from core.statistics.figure_names import ACCURACY, RECALL, SPECIFICITY
from core.wording import interval_words
from pages.ui.charts import escape_markup
from pages.ui.evaluation.charts import Shows, draw_curve, draw_intervals, draw_matrix
from tests.helpers.colours import contrast
from tests.helpers.evaluations import made_evaluation

PUBLISHED = Confusion(("benign", "malignant"), ((220, 162), (59, 468)), ((9, 7), (5, 12)))
HOSTILE = '<a href="https://evil.example">here</a>'
DARK, LIGHT = "#22282c", "#e8ebec"  # text of the light and of the dark theme
BACKGROUNDS = {DARK: (255, 255, 255), LIGHT: (22, 25, 27)}


@pytest.mark.parametrize(
    ("shows", "words"),
    [
        ("counts", ("220", "162", "59", "468")),
        ("row %", ("58%", "42%", "11%", "89%")),
        ("patients", ("9", "7", "5", "12")),
    ],
)
def test_a_cell_shows_what_was_asked_for(shows: Shows, words: tuple[str, ...]) -> None:
    assert draw_matrix(PUBLISHED, shows).data[-1].text == words


def test_a_point_s_number_tells_its_cell() -> None:
    confusion = made_evaluation(BACH).confusions[1]
    points = draw_matrix(confusion, "counts").data[-1]
    for number, text in enumerate(points.text):
        row, column = divmod(number, 4)
        assert (points.y[number], points.x[number]) == (row, column)
        assert text == str(confusion.counts[row][column])


def test_shades_are_shares_of_the_row_and_an_empty_row_stays_blank() -> None:
    empty = Confusion(("a", "b"), ((0, 0), (1, 3)), ((0, 0), (1, 2)))
    figure = draw_matrix(empty, "row %")
    assert [list(row) for row in figure.data[0].z] == [[0, 0], [0.25, 0.75]]
    assert figure.data[-1].text == ("–", "–", "25%", "75%")
    assert "an empty row" in figure.data[-1].customdata[0]


def test_hovering_tells_the_whole_cell() -> None:
    words = draw_matrix(PUBLISHED, "counts").data[-1].customdata[2]
    assert words == "truth malignant, predicted benign<br>59 images (11.2% of this row) of 5 patients"


def test_the_chosen_cell_is_framed() -> None:
    assert not draw_matrix(PUBLISHED, "counts").layout.shapes
    [frame] = draw_matrix(PUBLISHED, "counts", (1, 0)).layout.shapes
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (-0.5, 0.5, 0.5, 1.5)


def test_names_of_classes_cannot_act() -> None:
    figure = draw_matrix(Confusion((HOSTILE, "b"), ((1, 0), (0, 1)), ((1, 0), (0, 1))), "counts")
    shown = [*figure.layout.xaxis.ticktext, *figure.layout.yaxis.ticktext, *figure.data[-1].customdata]
    assert not [words for words in shown if "<a" in words]
    assert escape_markup(HOSTILE).startswith("&lt;a ")


@pytest.mark.parametrize("ink", [DARK, LIGHT])
def test_numbers_stay_readable_on_the_fullest_cell(ink: str) -> None:
    figure = draw_matrix(PUBLISHED, "counts", ink=ink)
    points = figure.data[-1]
    assert points.textfont.color == points.selected.textfont.color == points.unselected.textfont.color == ink
    *colour, share = (float(part) for part in figure.data[0].colorscale[-1][1][5:-1].split(","))
    mixed = [share * part + (1 - share) * below for part, below in zip(colour, BACKGROUNDS[ink], strict=True)]
    assert contrast(mixed, ink) >= 4.5


def test_two_models_differ_by_line_and_sign_as_well_as_by_colour() -> None:
    first = made_evaluation(BINARY)
    figure = draw_curve("reliability", [first, replace(first, model_name="other")])
    assert figure is not None
    one, other = figure.data
    for look in ("line.dash", "line.color", "marker.symbol"):
        assert one[look] != other[look]


def test_the_legend_gives_the_area_with_its_interval() -> None:
    figure = draw_curve("roc", [made_evaluation(BINARY)])
    assert figure is not None
    auc = made_evaluation(BINARY).figure("AUC")
    assert auc is not None
    assert auc.low is not None
    assert figure.data[0].name == f"telltale 3f9a1c22b0e4, AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]"


def test_the_locked_threshold_lies_on_the_roc_curve() -> None:
    evaluation = made_evaluation(BINARY)
    recall, specificity = evaluation.figure(RECALL), evaluation.figure(SPECIFICITY)
    assert recall is not None
    assert specificity is not None
    figure = draw_curve("roc", [evaluation])
    assert figure is not None
    line, marker = figure.data
    assert (marker.x[0], marker.y[0]) == (1 - specificity.value, recall.value)
    assert marker.name.endswith(", locked threshold 0.40")
    x, y = marker.x[0], marker.y[0]
    steps = pairwise(zip(line.x, line.y, strict=True))
    # Steps are upright, level, or slanted where benign and malignant images are tied.
    assert [
        1 for (x0, y0), (x1, y1) in steps if abs((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) < 1e-9 and y0 <= y <= y1
    ]


def test_the_locked_abstention_is_marked_among_the_risks() -> None:
    evaluation = made_evaluation(BINARY)
    assert evaluation.abstention is not None
    figure = draw_curve("risk_coverage", [evaluation])
    assert figure is not None
    assert (figure.data[1].x[0], figure.data[1].y[0]) == (evaluation.abstention.coverage, evaluation.abstention.error)


def test_a_curve_that_nobody_has_is_none() -> None:
    assert draw_curve("roc", [replace(made_evaluation(BINARY), curves=())]) is None


def test_the_name_of_a_model_cannot_act() -> None:
    figure = draw_curve("roc", [replace(made_evaluation(BINARY), model_name=HOSTILE)])
    assert figure is not None
    assert not [trace.name for trace in figure.data if "<a" in trace.name]


def test_groups_stand_with_their_intervals() -> None:
    known = Group("magnification", "40X", 19, 13, 4, (Figure(ACCURACY, 0.8, 0.5, 0.9, "image", 19),))
    unknown = Group("subtype", HOSTILE, 3, 1, 0, (Figure(ACCURACY, 1.0, None, None, "image", 3),))
    figure = draw_intervals([known, unknown], ACCURACY)
    assert figure is not None
    [points] = figure.data
    assert points.y[0] == "40X (19 of 13)"
    assert list(points.error_x.array) == pytest.approx([0.1, 0])
    assert list(points.error_x.arrayminus) == pytest.approx([0.3, 0])
    assert "<a" not in points.y[1]
    assert draw_intervals([known], "no such figure") is None


def test_a_figure_without_an_interval_is_written_without_one() -> None:
    assert interval_words(Figure(ACCURACY, 0.8, 0.5, 0.9, "image", 19)) == "0.800 [0.500, 0.900]"
    assert interval_words(Figure(ACCURACY, 0.8, None, None, "image", 19)) == "0.800"
    assert interval_words(None) == "–"
