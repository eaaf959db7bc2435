"""The page of the model in service, of the others that could be, and of how they were trained."""

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.card import Abstention, Card, ScopeReference, checkpoint_sha256, model_version
from core.settings import Settings
from db import store
from db.values.audit import Action
from db.values.evaluations import Deployment, RunState
from pages.ui import resources
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.networks import SMALL_CARD, small_checkpoint
from tests.helpers.runs.histories import as_document, epoch_line, run_lines
from tests.helpers.world import CARD, World, write_card


def folder() -> Path:
    return Settings.from_environment().checkpoint.parent


def other(name: str = "other", card: Card = CARD) -> Path:
    path = folder() / f"{name}.safetensors"
    write_card(path, replace(card, name=name))
    return path


def in_service(world: World) -> Deployment | None:
    with world.sessions.read() as session:
        return store.models.in_service(session)


def put_in_service(world: World, path: Path, sha256: str = "") -> None:
    with world.sessions.begin() as session:
        store.models.put_in_service(session, world.reader, str(path), sha256 or checkpoint_sha256(path), path.stem)


def add_run(world: World, lines: str, state: RunState = RunState.FINISHED, name: str = "a recipe") -> Path:
    """Store a run; its folder holds the history while it runs, its row once it has ended."""
    place = folder() / f"run {name}"
    place.mkdir()
    with world.sessions.begin() as session:
        number = store.models.start_run(session, name, str(place), "{}")
        if state is not RunState.RUNNING:
            store.models.finish_run(session, number, state, as_document(lines))
    if state is RunState.RUNNING:
        (place / "history.jsonl").write_text(lines, encoding="utf-8")
    return place


def curves(tab: AppTest) -> list[str]:
    return [str(chart.proto.spec) for chart in tab.get("plotly_chart")]


def test_the_page_says_how_the_worker_computes_and_why_that_is_not_as_the_settings_want(world: World) -> None:
    assert "Computed with" not in words_on(visit("models.py"))
    (worker,) = resources.installation().supervisor._workers
    worker._handle_line("computes torch-fp32 cpu openvino-bf16 changes *too* much")
    tab = visit("models.py")
    assert "Computed with torch-fp32 on the CPU" in words_on(tab)
    assert [one.value for one in tab.warning] == [
        "Slower than configured, with the same results: openvino-bf16 changes \\*too\\* much."
    ]


def test_the_card_is_told_in_full(world: World) -> None:
    words = words_on(visit("models.py"))
    assert CARD.name in words
    assert checkpoint_sha256(Settings.from_environment().checkpoint) in words
    assert "often wrong" in words


def test_figures_stand_with_their_interval_and_protocol(world: World) -> None:
    table = visit("models.py").table[1].value
    assert "0.810 [0.700, 0.900]" in table.to_string()
    assert "out of fold" in table.to_string()


def test_fusion_magnification_and_abstention_are_told_where_the_card_has_them(world: World) -> None:
    abstention = Abstention(0.1, 0.7, 0.82, 0.065, "out of fold, 24 patients")
    card = replace(CARD, fusion="cross_attention", magnification="input", locked_on="validation", abstention=abstention)
    put_in_service(world, other("new kind", card))
    words = visit("models.py").table[0].value.to_string()
    assert "cross attention fusion, additive head, magnification as input" in words
    assert "0.44, locked on validation" in words
    assert "opinion on 82% of the images, 6.5% of these wrong (out of fold, 24 patients)" in words


def test_a_missing_checkpoint_is_no_crash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", "/nowhere/gone.safetensors")
    assert "No model is in service" in visit("models.py").error[0].value


def test_what_was_put_into_service_last_is_shown_with_who_did_it(world: World) -> None:
    put_in_service(world, other("first choice"))
    put_in_service(world, other("second choice"))
    tab = visit("models.py")
    assert tab.markdown[1].value.startswith("**second choice**")
    assert "put into service" in words_on(tab)
    assert "by reader" in words_on(tab)


def test_a_file_that_changed_since_it_was_put_into_service_is_told_on_every_page(world: World) -> None:
    put_in_service(world, other(), "a" * 64)
    assert "has changed since it was put into service" in visit("models.py").error[0].value
    warning = visit("worklist.py").warning[0].value
    assert "New images cannot be analysed at the moment: other.safetensors has changed" in warning


def test_other_checkpoints_are_listed_with_demonstration_flag_and_figures(world: World) -> None:
    path = other()
    labels = [expander.label for expander in visit("models.py").expander]
    version = model_version(checkpoint_sha256(path))
    assert labels == [
        f"**other** `{version}` – demonstration – AUC by image 0.810 \\[0.700, 0.900\\] (out of fold, 24 patients)"
    ]


def test_the_checkpoint_of_a_finished_run_can_be_chosen(world: World) -> None:
    write_card(add_run(world, run_lines()) / "checkpoint.safetensors", replace(CARD, name="from a run"))
    assert "from a run" in visit("models.py").expander[0].label


def test_a_file_that_is_no_checkpoint_is_listed_with_its_reason_and_cannot_be_chosen(world: World) -> None:
    (folder() / "text.safetensors").write_text("not a checkpoint")
    tab = visit("models.py")
    assert "text.safetensors – cannot be used" in tab.expander[0].label
    assert "is not a safetensors file" in tab.error[0].value
    assert not [button for button in tab.button if button.label.startswith("Put into service")]


def test_nothing_is_put_into_service_before_it_is_confirmed(world: World) -> None:
    path = other()
    tab = press(visit("models.py"), "Put into service")
    question = next(words.value for words in tab.markdown if words.value.startswith("Put **other**"))
    assert model_version(checkpoint_sha256(path)) in question
    assert "demonstration model" in question
    assert "**not** analysed again" in question
    assert any("AUC by image 0.810" in words.value for words in tab.markdown if words.value.startswith("Measured"))
    press(tab, "Cancel")
    assert not [button for button in tab.button if button.label.startswith("Yes")]
    assert in_service(world) is None


@pytest.mark.slow
def test_a_confirmed_checkpoint_is_put_into_service_and_it_is_audited(world: World) -> None:
    sha256 = small_checkpoint(folder() / "small.safetensors", replace(SMALL_CARD, name="small"))
    tab = visit("models.py")
    tab.default_timeout = 120
    press(tab, "Put into service", "Yes")
    assert "small was put into service" in tab.toast[0].value
    assert tab.markdown[1].value.startswith("**small**")
    put = in_service(world)
    assert put is not None
    assert (put.sha256, put.account) == (sha256, "reader")
    with world.sessions.read() as session:
        assert store.audit.audit_trail(session)[0].action == Action.MODEL_IN_SERVICE


@pytest.mark.slow
def test_a_checkpoint_that_does_not_load_is_refused_with_its_reason(world: World) -> None:
    other()  # a card without weights
    tab = visit("models.py")
    tab.default_timeout = 120
    press(tab, "Put into service", "Yes")
    assert "It was not put into service: other.safetensors" in tab.error[0].value
    assert in_service(world) is None


def test_without_runs_and_other_checkpoints_the_page_says_which_command_makes_them(world: World) -> None:
    tab = visit("models.py")
    _, *others = tab.code  # the first one measures the heat maps of the model in service
    assert all("python -m training.train" in code.value for code in others)
    assert len(others) == 2


def test_the_curves_of_a_finished_run_come_from_its_row(world: World) -> None:
    add_run(world, run_lines()).rmdir()
    tab = visit("models.py")
    [drawn] = curves(tab)
    assert "fold 1 validation" in drawn
    assert "fold 2 training" in drawn
    assert "12 epochs" in words_on(tab)


def test_a_running_run_is_followed_in_its_folder(world: World) -> None:
    place = add_run(world, epoch_line("fold 1", 1), RunState.RUNNING)
    tab = visit("models.py")
    assert "running, 1 epoch so far" in words_on(tab)
    with (place / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(epoch_line("fold 1", 2))
    assert "running, 2 epochs so far" in words_on(tab.run())


def test_the_parts_of_a_run_can_be_chosen(world: World) -> None:
    add_run(world, run_lines())
    tab = visit("models.py")
    tab.button_group[0].select("fold 2").run()
    [drawn] = curves(tab)
    assert "fold 2 validation" in drawn
    assert "fold 1" not in drawn


def test_a_run_that_has_written_nothing_yet_is_no_crash(world: World) -> None:
    (add_run(world, "", RunState.RUNNING) / "history.jsonl").unlink()
    tab = visit("models.py")
    assert "No epoch has finished yet" in tab.warning[-1].value
    assert curves(tab) == []


def test_another_run_can_be_looked_at(world: World) -> None:
    add_run(world, run_lines(parts=1), name="first recipe")
    add_run(world, run_lines(parts=3), name="second recipe")
    tab = visit("models.py")
    assert "fold 3" in curves(tab)[0]
    tab.selectbox(key="run").select_index(1).run()
    assert "fold 3" not in curves(tab)[0]


def test_all_that_was_put_into_service_is_listed_the_newest_first(world: World) -> None:
    assert not visit("models.py").dataframe
    first, second = other("first"), other("second")
    put_in_service(world, first)
    put_in_service(world, second)
    (table,) = [frame.value for frame in visit("models.py").dataframe]
    assert list(table["Name"]) == ["second", "first"]
    assert list(table["Version"]) == [model_version(checkpoint_sha256(path)) for path in (second, first)]
    assert len(set(table["Put into service by"])) == 1


@pytest.mark.parametrize("in_service", [False, True])
def test_a_checkpoint_made_to_break_pages_breaks_none(world: World, in_service: bool) -> None:
    checkpoint = Settings.from_environment().checkpoint
    header = b"[" * 200_000
    broken = checkpoint if in_service else checkpoint.with_name("deep.safetensors")
    broken.write_bytes(len(header).to_bytes(8, "little") + header)
    for page in ("models.py", "worklist.py"):
        assert ("not a safetensors file" in words_on(visit(page))) is (in_service or page == "models.py")


def test_a_card_with_one_threshold_leaves_nothing_to_choose(world: World) -> None:
    assert "Threshold at this site" not in words_on(visit("models.py"))


def test_an_administrator_chooses_the_threshold_for_sensitivity(world: World) -> None:
    write_card(Settings.from_environment().checkpoint, replace(CARD, sensitive_threshold=0.1875))
    tab = visit("models.py")
    assert "Threshold at this site" in words_on(tab)
    assert "The model card sets the threshold" in words_on(tab)
    press(tab, "Use 0.19")
    assert "Chosen by" in words_on(tab)
    assert any(button.label.startswith("Use 0.44") for button in tab.button)
    with world.sessions.read() as session:
        version = model_version(checkpoint_sha256(Settings.from_environment().checkpoint))
        chosen = store.models.site_threshold(session, version)
        trail = [event.action for event in store.audit.audit_trail(session, limit=None)]
    assert chosen is not None
    assert chosen.value == 0.1875
    assert Action.THRESHOLD_CHOSEN in trail


def test_the_card_tells_the_limits_of_its_scope_and_its_false_alarms(world: World) -> None:
    scope = ScopeReference(0.8, 1.25, 0.021, 0.104, 240, 24, "one patient left out at a time")
    write_card(Settings.from_environment().checkpoint, replace(CARD, scope=scope))
    words = words_on(visit("models.py"))
    for told in ("no opinion from 1.25", "2.1% get no opinion", "10.4% are unusual", "one patient left out"):
        assert told in words, told
