"""Search the values of a configuration on patients inside the training side, never on those of a test."""

import copy
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from optuna.trial import BaseTrial
from pydantic import ConfigDict, TypeAdapter, ValidationError

from core.data.splits import patient_folds
from core.fitting.config import FitConfig, toml_value
from core.fitting.history import Epoch, History
from core.fitting.loop import Work, fit
from training.runs.parts import warmed_network
from training.runs.plan import Part, Plan

Report = Callable[[float, int], None]  # the AUC so far, and how many epochs that took

Choice = str | int | float | bool | list[str | int | float]


def inner_parts(plan: Plan, outer: int, inner: int, seed: int) -> tuple[Part, ...]:
    """Give the trainings that judge a recipe.

    A split is taken as it is: its validation patients judge. Under folds, the patients of the fold with number
    `outer` stay outside, and the others are dealt to `inner` folds.

    Raises:
        ValueError: If there is no such fold, or there are too few patients.
    """
    if plan.final is None:
        return plan.judged
    if not 1 <= outer <= len(plan.judged):
        raise ValueError(f"there is no outer fold {outer}: the config has {len(plan.judged)}")
    train = plan.judged[outer - 1].train
    folds = patient_folds(train, inner, seed)
    return tuple(
        Part(f"inner fold {number} of {inner}", tuple(learnt), tuple(judged))
        for number, (learnt, judged) in enumerate(folds, start=1)
    )


def judge_recipe(
    config: FitConfig,
    parts: tuple[Part, ...],
    weight_files: Mapping[str, Path],
    work: Work,
    report: Report = lambda auc, epochs: None,
) -> float:
    """Train one network on every part; give the mean AUC of the weights that would be kept.

    `report` hears after every epoch of the mean over the parts so far, and may raise to give up.
    """
    start, _ = warmed_network(config, weight_files, work)
    kept: list[float] = []
    for number, part in enumerate(parts):

        def progress(epoch: Epoch, done: int = number * config.epochs) -> None:
            if epoch.validation_auc is not None:
                report(float(np.mean([*kept, epoch.validation_auc])), done + epoch.number)

        network = copy.deepcopy(start)
        kept.append(_kept_auc(fit(network, part.train, part.validation, config, work=work, progress=progress)))
    return float(np.mean(kept))


def _kept_auc(history: History) -> float:
    auc = next(epoch.validation_auc for epoch in history.epochs if epoch.number == history.kept)
    if auc is None:
        raise ValueError("the validation patients are all benign or all malignant: no recipe can be judged on them")
    return auc


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included: whole ones if both are; `log` spreads them over magnitudes."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range goes up, and on a log scale starts above 0: {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if len(self.choices) < 2:
            raise ValueError("a choice is between two values or more")


@dataclass(frozen=True, slots=True)
class Search:
    """The keys that are searched, dotted as for `--set`, and their values."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    search: dict[str, Range | Choices]

    def __post_init__(self) -> None:
        if not self.search:
            raise ValueError("there is nothing to search")

    def draw(self, trial: BaseTrial) -> list[str]:
        """Let a trial choose every value; give them as assignments for `--set`."""
        return [f"{key}={_drawn(trial, key, values)}" for key, values in self.search.items()]


_ADAPTER = TypeAdapter(Search)


def read_search(path: Path) -> Search:
    """Read the ranges of a file.

    Raises:
        ValueError: If the file is not one of ranges; the message names the wrong places.
    """
    try:
        return _ADAPTER.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        # A wrong value is neither a range nor a choice, and the reasons for both are given.
        reasons = "; ".join(f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}" for reason in error.errors())
        raise ValueError(f"{path.name}: {reasons}") from error


def _drawn(trial: BaseTrial, key: str, values: Range | Choices) -> str:
    if isinstance(values, Choices):
        # As text, because the storage takes no lists.
        return str(trial.suggest_categorical(key, [toml_value(choice) for choice in values.choices]))
    if isinstance(values.low, int) and isinstance(values.high, int):
        return toml_value(trial.suggest_int(key, values.low, values.high, log=values.log))
    return toml_value(trial.suggest_float(key, values.low, values.high, log=values.log))
