"""Judges one recipe on patients inside the training side, so that a search never sees those of a test."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from core.fit.history import Epoch, History
from core.fit_config import FitConfig
from core.fitting import Work, fit
from core.splits import patient_folds
from training.parts import warmed_network
from training.protocols import Part, Plan

Report = Callable[[float, int], None]  # the AUC so far, and how many epochs that took


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
