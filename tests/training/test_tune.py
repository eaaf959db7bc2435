"""The search over a config's values: what it draws, whom it asks, how it goes on."""

import re
import shlex
from pathlib import Path

import optuna
import pytest
import typer
from optuna.trial import TrialState

from core.data.datasets import load_dataset
from core.fitting.config import FitConfig, read_config
from core.fitting.loop import Work
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.runs.small_runs import TINY, Place
from training import tune
from training.runs.inner_search import Choices, Range, Search, inner_parts, read_search
from training.runs.plan import plan_run

CONFIGS = Path(tune.__file__).parent / "configs"
RANGES = """
[search]
"phases.0.learning_rate" = { low = 1e-5, high = 1e-2, log = true }
"phases.0.epochs" = { low = 1, high = 2 }
dropout = { low = 0.0, high = 0.5 }
branches = { choices = [["test_efficientnet"], ["test_vit"]] }
"""
QUICK = ["members=1", "generated=", "batch_size=4"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    tissue_folder(place.tissue, patients=8, each=1)
    (tmp_path / "ranges.toml").write_text(RANGES)
    return place


def search(place: Place, trials: int, jobs: int = 1, data: list[Path] | None = None) -> None:
    tune.run(
        place.config,
        place.path / "ranges.toml",
        data=data or [place.tissue],
        storage=place.path / "trials.sqlite",
        trials=trials,
        jobs=jobs,
        inner=2,
        assignments=QUICK,
        threads=1,
    )


def trials_of(place: Place) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{place.path / 'trials.sqlite'}").trials


def test_values_are_drawn_between_their_ends_and_make_a_config(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "ranges.toml").write_text(RANGES)
    ranges = read_search(tmp_path / "ranges.toml")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs = [read_config(tmp_path / "tiny.toml", ranges.draw(study.ask()))[0] for _ in range(30)]
    assert {config.phases[0].epochs for config in configs} == {1, 2}
    assert {config.branches for config in configs} == {("test_efficientnet",), ("test_vit",)}
    assert all(1e-5 <= config.phases[0].learning_rate <= 1e-2 for config in configs)
    assert sum(config.phases[0].learning_rate < 1e-3 for config in configs) > 10  # on a log scale, two thirds of them


def test_the_ranges_of_the_project_fit_the_config_they_are_for() -> None:
    for path in CONFIGS.glob("search_*.toml"):
        ranges = read_search(path)
        config = CONFIGS / path.name.removeprefix("search_")
        drawn = ranges.draw(optuna.create_study().ask())
        assert read_config(config, drawn)[0] != FitConfig.from_toml(config)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[search]", r"the \[search\] table is empty"),
        ("[search]\ndropout = { low = 1, high = 0 }", "low must be below high"),
        ("[search]\ndropout = { low = 0, high = 1, log = true }", "above 0 on a log scale"),
        ("[search]\ndropout = { choices = [1] }", "at least two values"),
        ("[search]\ndropout = { lowest = 1, high = 3 }", "dropout"),
        ("[ranges]\ndropout = { low = 0, high = 1 }", "search"),
    ],
)
def test_ranges_that_make_no_sense_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "ranges.toml").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_search(tmp_path / "ranges.toml")


def test_recipes_are_judged_inside_the_training_side_only(place: Place) -> None:
    images = load_dataset("breakhis", place.tissue)
    for kind in ("folds", "split"):
        config, _ = read_config(place.config, [f"protocol.kind={kind}", "protocol.folds=4"])
        plan = plan_run(images, config)
        unseen = {image.patient_id for image in (plan.judged[1].validation if kind == "folds" else plan.test)}
        parts = inner_parts(plan, outer=2, inner=3, seed=0)
        seen = {image.patient_id for part in parts for image in (*part.train, *part.validation)}
        assert unseen
        assert not seen & unseen
        for part in parts:
            assert not {i.patient_id for i in part.train} & {i.patient_id for i in part.validation}


def test_an_outer_fold_that_does_not_exist_is_refused(place: Place) -> None:
    plan = plan_run(load_dataset("breakhis", place.tissue), FitConfig.from_toml(place.config))
    with pytest.raises(ValueError, match="no outer fold 3"):
        inner_parts(plan, outer=3, inner=2, seed=0)


@pytest.mark.slow
def test_a_search_goes_on_where_it_stopped_and_prints_what_training_takes(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    search(place, trials=2)
    first = trials_of(place)
    search(place, trials=3)
    then = trials_of(place)
    assert [trial.params for trial in then[:2]] == [trial.params for trial in first]
    assert len(then) == 3
    assert len({str(trial.params) for trial in then}) == 3, "values drawn twice after going on"
    printed = capsys.readouterr().out.splitlines()[-1]
    words = shlex.split(printed)
    assert words[::2] == ["--set"] * 4
    config, _ = read_config(place.config, words[1::2])
    best = max(then, key=lambda trial: trial.value or 0)
    assert config.dropout == best.params["dropout"]
    assert config.phases[0].learning_rate == best.params["phases.0.learning_rate"]
    search(place, trials=3)
    assert len(trials_of(place)) == 3


def test_a_recipe_behind_the_others_is_given_up(place: Place) -> None:
    (place.path / "ranges.toml").write_text("[search]\ndropout = { low = 0.0, high = 0.5 }\n")
    study = tune.open_study(_tuning(place))
    good = optuna.trial.create_trial(value=2.0, intermediate_values=dict.fromkeys(range(1, 5), 2.0))
    study.add_trials([good] * 6)
    tune.search_recipes(_tuning(place, trials=7))
    last = trials_of(place)[-1]
    assert last.state is TrialState.PRUNED
    assert len(last.intermediate_values) < 4


@pytest.mark.slow
def test_several_processes_share_one_search(place: Place) -> None:
    search(place, trials=4, jobs=2)
    done = [trial for trial in trials_of(place) if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert 4 <= len(done) <= 5
    assert len({str(trial.params) for trial in done}) == len(done)


def test_a_search_without_its_images_is_refused(place: Place, tmp_path: Path) -> None:
    for data in ([tmp_path / "nowhere"], [place.tissue, tmp_path / "nowhere"]):
        with pytest.raises(typer.BadParameter, match=re.escape(str(tmp_path / "nowhere"))):
            search(place, trials=1, data=data)


def _tuning(place: Place, trials: int = 7) -> tune.Tuning:
    config, _ = read_config(place.config, QUICK)
    plan = plan_run(load_dataset("breakhis", place.tissue), config)
    return tune.Tuning(
        config=place.config,
        assignments=tuple(QUICK),
        search=Search({"dropout": Range(0.0, 0.5), "averaging": Choices((0.0, 0.5))}),
        parts=inner_parts(plan, 1, 2, 0),
        weights=(),
        work=Work(),
        storage=f"sqlite:///{place.path / 'trials.sqlite'}",
        trials=trials,
        threads=1,
    )
