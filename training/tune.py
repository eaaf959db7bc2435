"""Search the values of a training config with Optuna, scored on validation patients and never on test patients.

python -m training.tune CONFIG SEARCH --data BREAKHIS --storage runs/starter.sqlite
"""

import multiprocessing
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import optuna
import torch
import typer
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import MaxTrialsCallback
from optuna.trial import FrozenTrial, TrialState

from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions
from core.data.datasets import OUTSIDE, PATIENT_TABLE, DatasetName, load_folders
from core.data.left_out import dataset_cautions
from core.fitting.config import read_config
from core.fitting.loop import Work
from core.network.branches import MissingWeightsError
from training.runs.inner_search import Search, inner_parts, judge_recipe, read_search
from training.runs.plan import OWN_DATASET, Part, filter_images, plan_run, weight_files

_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
# A trial without a heartbeat for this long has lost its process; its values are tried again.
_HEARTBEAT_SECONDS, _GRACE_SECONDS = 30, 120
_SEED_STEP = 100_000  # between workers, so that they do not draw the same values
_UNPRUNED_TRIALS = 5  # the median of fewer trials is too noisy to prune by


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is searched and how; every worker process receives all of it."""

    config: Path
    assignments: tuple[str, ...]
    search: Search
    parts: tuple[Part, ...]
    weights: tuple[str, ...]
    work: Work
    storage: str
    trials: int
    threads: int


def run(  # noqa: PLR0913 - one for each option of the command
    config: Annotated[Path, typer.Argument(help="TOML file of the training run to tune.")],
    search: Annotated[Path, typer.Argument(help="TOML file with a [search] table of ranges and choices.")],
    *,
    data: Annotated[list[Path], typer.Option(help="Folder of the dataset; repeatable.")],
    storage: Annotated[Path, typer.Option(help="SQLite file for the trials; an existing search is continued.")],
    trials: Annotated[int, typer.Option(min=1, help="Total number of completed or pruned trials to stop at.")] = 50,
    jobs: Annotated[int, typer.Option(min=1, help="Number of parallel processes.")] = 1,
    outer: Annotated[int, typer.Option(min=1, help="With folds: number of the fold to leave out entirely.")] = 1,
    inner: Annotated[int, typer.Option(min=2, help="With folds: number of inner folds for the other patients.")] = 3,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE to override in the config.")] = None,
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Dataset in the folder; the task's own by default.")
    ] = None,
    weights: Annotated[list[str] | None, typer.Option(help="NAME=FILE: pretrained weights of a branch.")] = None,
    lists: Annotated[Path | None, typer.Option(help="Official folds: folder of dsfoldN.txt, or their table.")] = None,
    patients: Annotated[Path | None, typer.Option(help=PATIENT_TABLE)] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder to cache decoded images in; memory by default.")] = None,
    limit: Annotated[int, typer.Option(help="Images per class and patient, for a quick test; 0: all.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads per process; 0: torch decides.")] = 0,
    device: Annotated[str, typer.Option(help="Device: cpu or cuda.")] = "cpu",
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
) -> None:
    """Search a config's values and print the best ones as options for training.train."""
    try:
        settings, _ = read_config(config, assignments or ())
        name = dataset or OWN_DATASET[settings.task]
        images = load_folders(name, data, outside=outside, patients=patients)
        plan = plan_run(filter_images(images, settings, limit), settings, lists)
        tuning = Tuning(
            config=config,
            assignments=tuple(assignments or ()),
            search=read_search(search),
            parts=inner_parts(plan, outer, inner, settings.protocol.seed),
            weights=tuple(weights or ()),
            work=Work(cache=cache, device=device),
            storage=f"sqlite:///{storage.resolve()}",
            trials=trials,
            threads=threads,
        )
        weight_files(tuning.weights)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    cautions = dataset_cautions(name, data[0], images, *data[1:])
    print_cautions(PlainConsole(stderr=True), cautions)
    storage.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(tuning)
    _search_in_processes(tuning, jobs)
    _print_best(study, tuning)
    end_if_left_out(cautions)


def open_study(tuning: Tuning, worker: int = 0) -> optuna.Study:
    """Open the study in the storage file, or create it; every worker samples different values."""
    with warnings.catch_warnings():
        # Optuna has called heartbeats experimental since 2021; without them a killed trial would run forever on record.
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = RDBStorage(
            tuning.storage,
            heartbeat_interval=_HEARTBEAT_SECONDS,
            grace_period=_GRACE_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=2),
        )
    study = optuna.create_study(storage=storage, study_name="recipe", direction="maximize", load_if_exists=True)
    settings, _ = read_config(tuning.config, tuning.assignments)
    # A resumed sampler with the same seed would draw its first values again.
    seed = settings.seed + len(study.get_trials(deepcopy=False)) + _SEED_STEP * worker
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS, n_warmup_steps=1)
    return study


def search_recipes(tuning: Tuning, worker: int = 0) -> None:
    """Try recipes until the storage holds the requested number of trials."""
    if tuning.threads:
        torch.set_num_threads(tuning.threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(tuning, worker)
    if len(study.get_trials(deepcopy=False, states=_COUNTED)) >= tuning.trials:
        return

    def score_trial(trial: optuna.Trial) -> float:
        config, _ = read_config(tuning.config, (*tuning.assignments, *tuning.search.draw(trial)))

        def report(auc: float, epochs: int) -> None:
            trial.report(auc, epochs)
            if trial.should_prune():
                raise optuna.TrialPruned

        return judge_recipe(config, tuning.parts, weight_files(tuning.weights), tuning.work, report)

    study.optimize(score_trial, callbacks=[MaxTrialsCallback(tuning.trials, _COUNTED), _print_trial])


def _search_in_processes(tuning: Tuning, jobs: int) -> None:
    """Search in this process and in `jobs` - 1 others; threads would share one random generator."""
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=search_recipes, args=(tuning, worker)) for worker in range(1, jobs)]
    for other in others:
        other.start()
    try:
        search_recipes(tuning)
    finally:
        for other in others:
            other.join()


def _print_trial(study: optuna.Study, trial: FrozenTrial) -> None:
    value = "pruned" if trial.state is TrialState.PRUNED else f"AUC {trial.value}"
    PlainConsole(stderr=True).print(f"trial {trial.number}: {value}; {trial.params}")


def _print_best(study: optuna.Study, tuning: Tuning) -> None:
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    done, pruned = states.count(TrialState.COMPLETE), states.count(TrialState.PRUNED)
    best = study.best_trial
    assignments = tuning.search.draw(optuna.trial.FixedTrial(best.params))
    patients = len({image.patient_id for part in tuning.parts for image in part.validation})
    typer.echo(
        f"{done} recipes evaluated on {patients} validation patients, {pruned} pruned; best AUC {best.value:.3f}:"
    )
    typer.echo(" ".join(f"--set {shlex.quote(assignment)}" for assignment in assignments))


app = make_app(
    run,
    "python -m training.tune CONFIG SEARCH --data BREAKHIS --storage trials.sqlite",
    MissingWeightsError,
)

if __name__ == "__main__":
    run_app(app)
