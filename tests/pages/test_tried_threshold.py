"""The threshold that can be moved along the ROC curve: what follows it, and what does not."""

from streamlit.testing.v1 import AppTest

from core.labels import BINARY
from db import store
from db.values.audit import EventFilter
from tests.helpers.app_pages import visit, words_on
from tests.helpers.evaluations import add_evaluation, made, made_evaluation, made_images
from tests.helpers.world import World

TRIED = 0.7


def stored(world: World) -> AppTest:
    add_evaluation(world.sessions, made_evaluation(BINARY), made_images(BINARY))
    return visit("evaluation.py")


def move(tab: AppTest, threshold: float) -> AppTest:
    tab.slider(key="evaluation-1-tried-threshold").set_value(threshold).run()
    assert not tab.exception, tab.exception
    return tab


def test_at_first_the_threshold_is_the_locked_one_and_nothing_is_explored(world: World) -> None:
    tab = stored(world)
    slider = tab.slider(key="evaluation-1-tried-threshold")
    assert slider.value == made_evaluation(BINARY).threshold
    assert "exploration only" in slider.label
    assert "Exploration only" not in words_on(tab)


def test_matrix_and_rates_follow_the_threshold_and_the_locked_ones_stay(world: World) -> None:
    tab = stored(world)
    before = tab.table[0].value.to_string()
    move(tab, TRIED)
    judged = made(BINARY).binary()
    called = judged.probabilities >= TRIED
    hits, misses = int((called & judged.malignant).sum()), int((~called & judged.malignant).sum())
    table = next(each.value for each in tab.table if "Rate" in each.value)
    rates = dict(zip(table["Rate"], table["At 0.70 (tried)"], strict=True))
    locked = dict(zip(table["Rate"], table["At 0.40 (locked)"], strict=True))
    assert rates["Sensitivity"].startswith(f"{hits / (hits + misses):.3f} ")
    assert locked["Sensitivity"].startswith(f"{made_evaluation(BINARY).figures[5].value:.3f} ")
    words = words_on(tab)
    assert "**Exploration only.** telltale 3f9a1c22b0e4 at threshold **0.70** instead of the locked 0.40" in words
    drawn = [str(chart.proto.spec) for chart in tab.get("plotly_chart")]
    matrix = next(spec for spec in drawn if f"{misses:,} images ({misses / (hits + misses):.1%} of this row)" in spec)
    assert "truth malignant, predicted benign" in matrix
    assert any("tried threshold 0.70" in spec for spec in drawn)
    assert tab.table[0].value.to_string() == before


def test_a_tried_threshold_is_stored_nowhere(world: World) -> None:
    with world.sessions.read() as session:
        events = len(list(store.audit.all_events(session, world.reader, EventFilter())))
    tab = move(stored(world), TRIED)
    assert "nothing is stored" in words_on(tab)
    with world.sessions.read() as session:
        (row,) = store.evaluations.evaluations(session, None)
        assert row.document == made_evaluation(BINARY).to_json()
        assert len(list(store.audit.all_events(session, world.reader, EventFilter()))) == events + 1, (
            "that of the evaluation alone"
        )
    again = visit("evaluation.py")
    assert again.slider(key="evaluation-1-tried-threshold").value == made_evaluation(BINARY).threshold
