"""The figures and words of a comparison of two image sets, looked at without a browser."""

from dataclasses import replace

import pytest

from core.statistics.shift import Shift
from core.statistics.tissue_statistics import STATISTICS
from pages.ui.csv_tables import statistics_csv
from pages.ui.domain_shift import charts, explanations
from tests.helpers.colours import contrast
from tests.helpers.shifts import STEPS, figure, shifted


@pytest.fixture(scope="module")
def far() -> Shift:
    return shifted()


def test_each_statistic_has_its_own_density_of_both_sets_the_most_different_first(far: Shift) -> None:
    drawn = charts.draw_statistics(far)
    assert len(drawn.data) == 2 * len(STATISTICS)
    sizes = [abs(found.difference) for found in charts.sort_by_difference(far)]
    assert sizes == sorted(sizes, reverse=True)
    titles = [note.text for note in drawn.layout.annotations]
    assert titles[0].startswith(f"<b>{charts.sort_by_difference(far)[0].name}</b><br>")
    assert all("SD higher" in title for title in titles)


def test_sets_differ_by_line_and_by_sign_as_well_as_by_colour(far: Shift) -> None:
    source, target = charts.draw_statistics(far).data[:2]
    assert source.line.dash != target.line.dash
    source, target = charts.draw_points(far).data
    assert source.marker.symbol != target.marker.symbol
    assert (source.name, target.name) == ("here", "there")


def test_the_legend_names_each_set_once(far: Shift) -> None:
    named = [trace.name for trace in charts.draw_statistics(far).data if trace.showlegend]
    assert named == ["here", "there"]


def test_every_image_is_a_point_that_names_its_patient(far: Shift) -> None:
    source, target = charts.draw_points(far).data
    assert len(source.x) == len(target.x) == 18
    assert set(target.customdata) == {f"there {number}" for number in range(6)}


def test_a_step_stands_at_its_change_with_its_interval_between_nothing_and_the_whole_drop(far: Shift) -> None:
    drawn = charts.draw_what_helps(far)
    assert drawn is not None
    [changes] = drawn.data
    assert list(changes.y) == ["one view only", "Reinhard"]
    assert list(changes.x) == pytest.approx([-0.02, 0.05])
    assert list(changes.error_x.array) == pytest.approx([0, 0.03])
    assert [line.x0 for line in drawn.layout.shapes] == pytest.approx([0, 0.20])
    assert changes.customdata[1] == "+0.050 [+0.020, +0.080], +25% of the drop"


def test_without_a_drop_there_is_no_line_that_could_be_reached(far: Shift) -> None:
    drawn = charts.draw_what_helps(replace(far, drop=figure(-0.03, 0.02, "drop of AUC")))
    assert drawn is not None
    assert [line.x0 for line in drawn.layout.shapes] == [0]
    assert not drawn.layout.annotations


@pytest.mark.parametrize(
    ("changes", "is_nothing"),
    [
        ([(0.0, None), (0.004, None)], True),
        ([(0.0, 0.004), (-0.001, 0.003)], True),
        ([(0.0, None), (0.005, None)], False),
        ([(0.0, 0.02)], False),  # it may change something
    ],
)
def test_changes_that_round_to_nothing_are_nothing(
    far: Shift, changes: list[tuple[float, float | None]], is_nothing: bool
) -> None:
    steps = tuple(replace(STEPS[1], change=figure(value, half, "change of AUC")) for value, half in changes)
    assert explanations.changes_nothing(replace(far, steps=(STEPS[0], *steps))) == is_nothing
    assert not explanations.changes_nothing(replace(far, steps=STEPS[:1]))


def test_without_steps_there_is_nothing_to_draw(far: Shift) -> None:
    assert charts.draw_what_helps(replace(far, steps=STEPS[:1])) is None
    assert charts.draw_what_helps(replace(far, steps=())) is None


def test_names_of_folders_do_not_act_as_tags() -> None:
    drawn = charts.draw_points(shifted(source="<b>bold</b>"))
    assert drawn.data[0].name == "&lt;b&gt;bold&lt;/b&gt;"


def test_every_colour_reads_on_the_light_and_on_the_dark_background(far: Shift) -> None:
    used = {trace.line.color for trace in charts.draw_statistics(far).data}
    used |= {trace.marker.color for trace in charts.draw_points(far).data}
    for colour in used:
        for background in ("#ffffff", "#16191b"):
            assert contrast(colour, background) >= 3, (colour, background)


@pytest.mark.parametrize(
    ("low", "p", "words"),
    [
        (0.6, 0.001, "clearly differ"),
        (0.4, 0.001, "may differ"),
        (0.6, 0.2, "may differ"),
        (0.4, 0.2, "show no difference beyond"),
    ],
)
def test_the_verdict_needs_both_tests(far: Shift, low: float, p: float, words: str) -> None:
    frechet, discrepancy, told_apart = far.distances
    found = (frechet, replace(discrepancy, p=p), replace(told_apart, low=low))
    assert words in explanations.verdict(replace(far, distances=found))


def test_few_patients_show_little(far: Shift) -> None:
    near = shifted(away=0)
    assert "With so few patients" in explanations.verdict(near)
    assert "With so few patients" not in explanations.verdict(replace(near, patients=(10, 10)))
    assert "With so few patients" not in explanations.verdict(far)


def test_a_drop_that_may_be_none_is_said_to_be_so(far: Shift) -> None:
    assert explanations.drop_words(far) == "drop +0.200 [+0.100, +0.300]"
    assert "there may be no drop" in explanations.drop_words(replace(far, drop=figure(0.05, 0.10)))
    assert explanations.drop_words(replace(far, drop=None)) == ""
    assert "not measured" in explanations.auc_words(replace(far, source_auc=None))


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.009, "very unlikely to be chance"),
        (0.01, "unlikely to be chance"),
        (0.049, "unlikely to be chance"),
        (0.05, "may be chance"),
    ],
)
def test_chance_has_three_words(p: float, words: str) -> None:
    assert explanations.chance_words(p) == words


@pytest.mark.parametrize(
    ("apart", "words"),
    [
        (1.26, "1.3 SD higher, very unlikely to be chance"),
        (-0.06, "0.1 SD lower, very unlikely to be chance"),
        (0.049, "no difference"),
    ],
)
def test_a_difference_is_told_in_standard_deviations(far: Shift, apart: float, words: str) -> None:
    assert explanations.difference_words(replace(far.distributions[0], difference=apart, p=0.001)) == words


def test_every_measure_is_explained(far: Shift) -> None:
    assert set(explanations.STATISTIC_HELP) == {statistic.name for statistic in STATISTICS}
    assert set(explanations.DISTANCE_HELP) == {distance.name for distance in far.distances}


def test_statistics_are_exported_as_numbers(far: Shift) -> None:
    negative = replace(far, distributions=tuple(replace(d, difference=-1.5) for d in far.distributions))
    lines = statistics_csv(negative).data.decode("utf-8-sig").splitlines()
    assert lines[0] == "source,target,statistic,unit,source_median,target_median,difference_in_sd,p"
    assert len(lines) == 1 + len(far.distributions)
    assert all(",-1.5," in line for line in lines[1:])
