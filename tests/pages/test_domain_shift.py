"""The page that says how far one set of images lies from another."""

from dataclasses import replace

from core.card import ScopeReference, checkpoint_sha256, model_version
from core.settings import Settings
from core.statistics.drift import LEAST_CASES
from core.statistics.shift import Shift
from db import store
from tests.helpers.app_pages import visit, words_on
from tests.helpers.rows import out_of_scope, unusual
from tests.helpers.shifts import STEPS, figure, shifted
from tests.helpers.world import CARD, CARD_MODEL, World, analyse_all, write_card


def add(world: World, shift: Shift, document: str | None = None) -> None:
    with world.sessions.begin() as session:
        store.evaluations.add_shift(
            session, shift.source, shift.target, shift.model_version, document or shift.to_json()
        )


def test_without_a_comparison_the_page_names_the_command(world: World) -> None:
    tab = visit("domain_shift.py")
    assert "python -m training.shift" in tab.code[0].value
    assert not tab.selectbox


def test_a_comparison_is_told_with_its_distances_and_its_drop(world: World) -> None:
    add(world, shifted())
    words = words_on(visit("domain_shift.py"))
    assert "clearly differ" in words
    assert "two random halves of the source set" in words
    assert "0.900 → 0.700" in words
    assert "6 of 6 patients of here" in words
    assert "Before you rely on this" in words


def test_every_figure_is_drawn_and_explained(world: World) -> None:
    add(world, shifted())
    tab = visit("domain_shift.py")
    drawn = [str(chart.proto.spec) for chart in tab.get("plotly_chart")]
    assert len(drawn) == 3
    assert "size of dark structures" in drawn[0]
    assert "AUC of the source set" in drawn[1]
    helped = [markdown.proto.help for markdown in tab.markdown if markdown.proto.help]
    assert len(helped) == 7
    assert any("mostly nuclei" in text for text in helped)


def test_steps_that_change_nothing_are_said_and_not_drawn(world: World) -> None:
    none = figure(0.004, None, "change of AUC")
    steps = (STEPS[0], *(replace(step, change=none) for step in STEPS[1:]))
    add(world, replace(shifted(), steps=steps, drop=figure(-0.03, 0.02, "drop of AUC")))
    tab = visit("domain_shift.py")
    assert "No step changes the AUC on the target set" in words_on(tab)
    assert not [chart for chart in tab.get("plotly_chart") if "change in AUC" in str(chart.proto.spec)]
    assert [table for table in tab.table if "Change [95%]" in table.value], "the figures stay at hand"


def test_another_comparison_can_be_looked_at(world: World) -> None:
    add(world, shifted(away=0, target="nearby"))
    add(world, shifted())
    tab = visit("domain_shift.py")
    assert "images of here and of there clearly differ" in words_on(tab)
    tab.selectbox(key="shift").select_index(1).run()
    assert not tab.exception
    assert "images of here and of nearby" in words_on(tab)


def test_a_comparison_without_labels_of_both_kinds_says_what_is_missing(world: World) -> None:
    add(world, replace(shifted(), steps=()))
    words = words_on(visit("domain_shift.py"))
    assert "at least two benign and two malignant images" in words


def test_a_comparison_that_cannot_be_read_is_no_crash(world: World) -> None:
    add(world, shifted(), "{}")
    tab = visit("domain_shift.py")
    assert "cannot be read" in tab.error[0].value
    assert "training.shift" in tab.error[0].value


def test_the_watch_over_uploads_tells_the_months_and_their_alarm(world: World) -> None:
    scores = tuple(0.3 + 0.01 * place for place in range(24))
    scope = ScopeReference(1.0, 2.0, 0.02, 0.1, 240, 24, "held out", patient_scores=scores)
    path = Settings.from_environment().checkpoint
    write_card(path, replace(CARD, scope=scope))
    assert "has not yet analysed any upload" in words_on(visit("domain_shift.py"))
    for seed in range(LEAST_CASES):
        case_id = world.add_case(seed)
        model = replace(CARD_MODEL, version=model_version(checkpoint_sha256(path)))
        analyse_all(world.sessions, result=out_of_scope() if seed == 0 else unusual(), model=model)
        world.read_first(world.reader, case_id)
    words = words_on(visit("domain_shift.py"))
    assert "Cases" in words
    assert "1 (20%)" in words
    assert "4 (80%)" in words
    assert "differs by more than chance" in words
    assert "differ from the training images by more than chance" in words
    assert "5% of years" in words


def test_a_model_without_a_scope_has_no_watch(world: World) -> None:
    assert "Uploads of this site" not in words_on(visit("domain_shift.py"))
