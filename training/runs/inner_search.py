"""Search the values of a config on patients of the training side only, never on test patients."""

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
from core.fitting.loop import Work, fit
from core.run_history import Epoch, History
from training.runs.parts import build_warmed_up_network
from training.runs.plan import Part, RunPlan

Report = Callable[[float, int], None]  # the mean AUC so far, and the number of epochs so far

ChoiceValue = str | int | float | bool | list[str | int | float]


def inner_parts(plan: RunPlan, outer: int, inner: int, seed: int) -> tuple[Part, ...]:
    """Return the parts that a recipe is trained and evaluated on.

    A split is used as it is, with its validation patients. With folds, fold number `outer` is left out entirely, and
    its training patients are assigned to `inner` folds.

    Raises:
        ValueError: If there is no such fold, or too few patients.
    """
    if plan.final is None:
        return plan.judged
    if not 1 <= outer <= len(plan.judged):
        raise ValueError(f"there is no outer fold {outer}: the config has {len(plan.judged)}")
    train = plan.judged[outer - 1].train
    folds = patient_folds(train, inner, seed)
    return tuple(
        Part(f"inner fold {number} of {inner}", tuple(inner_train), tuple(validation))
        for number, (inner_train, validation) in enumerate(folds, start=1)
    )


def judge_recipe(
    config: FitConfig,
    parts: tuple[Part, ...],
    weight_files: Mapping[str, Path],
    work: Work,
    report: Report = lambda auc, epochs: None,
) -> float:
    """Train one network on every part and return the mean validation AUC of the weights that would be kept.

    `report` is called after every epoch with the mean over the parts so far; it may raise an exception to stop early.
    """
    start, _ = build_warmed_up_network(config, weight_files, work)
    aucs: list[float] = []
    for number, part in enumerate(parts):

        def progress(epoch: Epoch, done: int = number * config.epochs) -> None:
            if epoch.validation_auc is not None:
                report(float(np.mean([*aucs, epoch.validation_auc])), done + epoch.number)

        network = copy.deepcopy(start)
        aucs.append(_kept_auc(fit(network, part.train, part.validation, config, work=work, progress=progress)))
    return float(np.mean(aucs))


def _kept_auc(history: History) -> float:
    auc = next(epoch.validation_auc for epoch in history.epochs if epoch.number == history.kept)
    if auc is None:
        raise ValueError(
            "the validation patients are all benign or all malignant, so recipes cannot be compared on them"
        )
    return auc


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, inclusive; integers if both are; `log` samples on a logarithmic scale."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low must be below high, and above 0 on a log scale: {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    choices: tuple[ChoiceValue, ...]

    def __post_init__(self) -> None:
        if len(self.choices) < 2:
            raise ValueError("a choice needs at least two values")


@dataclass(frozen=True, slots=True)
class Search:
    """The keys to search, dotted as for `--set`, and their possible values."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    search: dict[str, Range | Choices]

    def __post_init__(self) -> None:
        if not self.search:
            raise ValueError("the [search] table is empty")

    def draw(self, trial: BaseTrial) -> list[str]:
        """Sample every value with a trial and return them as assignments for `--set`."""
        return [f"{key}={_draw_value(trial, key, values)}" for key, values in self.search.items()]


_ADAPTER = TypeAdapter(Search)


def read_search(path: Path) -> Search:
    """Read a TOML file with a [search] table.

    Raises:
        ValueError: If the table is not valid; the message names the wrong keys.
    """
    try:
        return _ADAPTER.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        # A wrong value is neither a range nor a choice, so the message has the reasons for both.
        reasons = "; ".join(f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}" for reason in error.errors())
        raise ValueError(f"{path.name}: {reasons}") from error


def _draw_value(trial: BaseTrial, key: str, values: Range | Choices) -> str:
    if isinstance(values, Choices):
        # As text, because Optuna's storage does not accept lists.
        return str(trial.suggest_categorical(key, [toml_value(choice) for choice in values.choices]))
    if isinstance(values.low, int) and isinstance(values.high, int):
        return toml_value(trial.suggest_int(key, values.low, values.high, log=values.log))
    return toml_value(trial.suggest_float(key, values.low, values.high, log=values.log))
