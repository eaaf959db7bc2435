"""The figures, looked at without a browser."""

from itertools import pairwise

import plotly.graph_objects as go
import pytest

from core.run_history import read_lines
from pages.ui.models.training_runs import draw_training_curves
from tests.helpers.colours import contrast
from tests.helpers.runs.histories import epoch_line, run_lines


def curves(text: str) -> go.Figure:
    return draw_training_curves(read_lines(text))


def lines_named(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.name == name]


def test_training_stands_against_validation_for_every_part() -> None:
    figure = curves(run_lines())
    [training] = lines_named(figure, "fold 1 training")
    loss, auc = lines_named(figure, "fold 1 validation")
    assert list(training.y) == pytest.approx([1 / n for n in range(1, 7)])
    assert list(loss.y) == pytest.approx([1.2 / n for n in range(1, 7)])
    assert list(auc.y) == pytest.approx([0.75, 0.8, 0.85, 0.9, 0.85, 0.8])
    assert training.line.dash != loss.line.dash
    assert (loss.yaxis, auc.yaxis) == ("y", "y2")


def test_parts_differ_by_sign_as_well_as_by_colour() -> None:
    figure = curves(run_lines(parts=6))
    lines = [lines_named(figure, f"fold {n} training")[0] for n in range(1, 7)]
    assert len({line.line.color for line in lines}) == len({line.marker.symbol for line in lines}) == 6


def test_each_part_is_named_once_in_the_legend() -> None:
    named = [trace.name for trace in curves(run_lines()).data if trace.showlegend is not False]
    assert sorted(named) == ["fold 1 training", "fold 1 validation", "fold 2 training", "fold 2 validation"]


def test_phases_are_marked_where_they_begin_and_named_once() -> None:
    figure = curves(run_lines())
    assert {line.x0 for line in figure.layout.shapes} == {0.5, 2.5}
    assert [note.text for note in figure.layout.annotations] == ["head", "all"]


def test_a_part_that_stopped_early_has_its_own_mark() -> None:
    figure = curves(run_lines() + epoch_line("fold 3", 1) + epoch_line("fold 3", 2, "all"))
    assert {line.x0 for line in figure.layout.shapes} == {0.5, 1.5, 2.5}


def test_the_best_epoch_of_each_part_is_ringed() -> None:
    rings = lines_named(curves(run_lines()), "best epoch")
    assert {ring.x[0] for ring in rings} == {4}
    assert sorted({ring.yaxis for ring in rings}) == ["y", "y2"]


def test_a_training_without_validation_draws_training_alone() -> None:
    figure = curves(epoch_line("whole", 1, validation=False) + epoch_line("whole", 2, validation=False))
    assert [trace.name for trace in figure.data] == ["whole training"]


def test_hovering_names_part_epoch_phase_and_measure() -> None:
    [training] = lines_named(curves(run_lines()), "fold 2 training")
    assert training.hovertemplate.startswith("fold 2, epoch %{x} (%{customdata})<br>loss ")
    assert training.customdata[:3] == ("head", "head", "all")


def test_every_colour_reads_on_the_light_and_on_the_dark_background() -> None:
    figure = curves(run_lines(parts=6))
    used = {trace.line.color or trace.marker.color for trace in figure.data}
    used |= {line.line.color for line in figure.layout.shapes}
    for colour in used:
        for background in ("#ffffff", "#16191b"):
            assert contrast(colour, background) >= 3, (colour, background)


def test_many_parts_reuse_colours_in_turn() -> None:
    figure = curves(run_lines(parts=7))
    colours = [lines_named(figure, f"fold {n} training")[0].line.color for n in range(1, 8)]
    assert colours[0] == colours[6]
    assert all(before != after for before, after in pairwise(colours))
