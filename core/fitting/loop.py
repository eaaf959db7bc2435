"""The training loop: one phase after another, with validation and saved state after every epoch.

A killed run can be resumed. No random generator lives longer than its epoch: each is made from the seed and the
position in the run. A resumed run, or one in several processes, therefore sees the same patches.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from core.data.datasets import LabelledImage
from core.fitting import distributed
from core.fitting.adversarial import DomainHead, TargetImages
from core.fitting.config import FitConfig, Generated, Phase, Sampling
from core.fitting.held_out import HeldOutImages
from core.fitting.images import TrainingImages
from core.fitting.phase import Data, Networks, PhaseRun
from core.fitting.solved_head import put_in, solve_head
from core.fitting.state import BestEpoch, Fingerprint, State, StateFolder
from core.network.hybrid import HybridNetwork
from core.run_history import Epoch, History, find_best_epoch, has_stalled


@dataclass(frozen=True, slots=True)
class Work:
    """The folders, additional images and device of a run.

    `state` is the folder that it saves to after every epoch and resumes from, `cache` the folder of decoded pixels and
    features. `targets` are the unlabelled images of the domain-adversarial option. `pool` contains the images of all
    folds: features are computed once for the pool, and every fold uses its own part.
    """

    state: Path | None = None
    cache: Path | None = None
    targets: tuple[Path, ...] = ()
    pool: tuple[LabelledImage, ...] = ()
    device: str = "cpu"


def fit(
    network: HybridNetwork,
    train: Sequence[LabelledImage],
    validation: Sequence[LabelledImage],
    config: FitConfig,
    *,
    work: Work = Work(),
    progress: Callable[[Epoch], None] = lambda epoch: None,
) -> History:
    """Train a network in place; it is left with the weights that the run keeps, in eval mode.

    `validation` may be empty; then no epoch has validation metrics, and the last one is kept. `progress` is called for
    every epoch trained in this call; a resumed run reports only the new ones.

    Raises:
        ValueError: If the images do not fit the task, or the state belongs to another run.
    """
    if bool(work.targets) != (config.adversarial is not None):
        raise ValueError(
            "the domain-adversarial option and unlabelled target images need each other: set both or neither"
        )
    device = torch.device(work.device)

    def open_data() -> Data:
        return Data(
            TrainingImages(train, config, work.cache, _pool(train, config, work)),
            HeldOutImages(validation, config, work.cache, device) if validation else None,
            TargetImages(work.targets, config, work.cache) if work.targets else None,
            work.cache,
        )

    def solve(phase: Phase) -> float:
        """Solve the head and return its loss; folds of one pool share its features."""
        pool = _pool(train, config, work) or train
        rows_of = {image: row for row, image in enumerate(pool)}
        means = HeldOutImages(pool, config, work.cache, device).mean_features(network, work.cache)
        rows = np.array([rows_of[image] for image in train])
        classes = np.array([image.class_in(config.label_set) for image in train], dtype=np.int64)
        solved = solve_head(means[rows], classes, [image.patient_id for image in train], phase.shrinkage)
        put_in(network, solved)
        return solved.loss

    folder = StateFolder(work.state, Fingerprint.of(config, train, validation, work.targets))
    return _Run(network, open_data, solve, config, folder, device).train(progress)


def warm_up(network: HybridNetwork, generated: Generated, config: FitConfig, work: Work = Work()) -> Epoch:
    """Train a network in place on generated tissue; no patient is seen, so all folds may share the result."""
    phase = Phase(
        "generated tissue", 1, "all", generated.learning_rate, schedule="cosine", warm_up=config.phases[0].warm_up
    )
    sampling = Sampling("patients", generated.batches)
    warm_up_config = replace(config, phases=(phase,), generated=generated, sampling=sampling, adversarial=None)
    return fit(network, [], [], warm_up_config, work=replace(work, targets=())).epochs[0]


def _pool(train: Sequence[LabelledImage], config: FitConfig, work: Work) -> Sequence[LabelledImage]:
    """Return the pool if it saves work: only if features are cached in a folder that other folds use."""
    return work.pool if train and work.cache and config.caches_features else ()


class _Run:
    """A network in training, its progress, and the folder that it can be resumed from."""

    def __init__(
        self,
        network: HybridNetwork,
        open_data: Callable[[], Data],
        solve: Callable[[Phase], float],
        config: FitConfig,
        folder: StateFolder,
        device: torch.device,
    ) -> None:
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        distributed.synchronise_batch_norm(network)
        averaged = copy.deepcopy(network).requires_grad_(False).eval() if config.averaging else network
        domain = _domain_head(network, config, device) if config.adversarial else None
        self._networks = Networks(network, averaged, domain)
        self._data = cache(open_data)  # a finished run needs none
        self._solve = solve
        self._config = config
        self._folder = folder
        self._device = device
        self._epochs: list[Epoch] = []
        self._steps = 0

    def train(self, progress: Callable[[Epoch], None]) -> History:
        distributed.wait()  # one process writes, all read
        state = self._folder.load()
        if state is not None:
            self._restore(state)
        distributed.wait()
        for number, phase in enumerate(self._config.phases, start=1):
            if not self._is_finished(phase):
                self._train_phase(number, phase, state if state and state.phase == number else None, progress)
        return self._finish()

    def _train_phase(self, number: int, phase: Phase, state: State | None, progress: Callable[[Epoch], None]) -> None:
        """Train the epochs of a phase; each phase starts from the averaged weights of the previous one."""
        trained, averaged = self._networks.trained, self._networks.averaged
        if state is None:
            _copy_weights(trained, averaged)
            self._folder.save_phase(number, trained.state_dict())
        if phase.shrinkage:
            progress(self._solve_phase(phase))
            return
        run = PhaseRun(self._networks, self._data(), self._config, number, self._device)
        if state is not None:
            run.optimiser.load_state_dict(dict(state.optimiser))
            run.scaler.load_state_dict(dict(state.scaler))
        while not self._is_finished(phase):
            started = time.perf_counter()
            own_epochs = self._epochs_of(phase)
            trained_epoch = run.train_epoch(len(own_epochs) + 1, own_epochs, self._steps)
            validation = run.judge()
            self._steps = trained_epoch.steps
            seconds = time.perf_counter() - started
            count = len(self._epochs) + 1
            self._epochs.append(
                Epoch(count, phase.name, trained_epoch.learning_rate, trained_epoch.loss, *validation, seconds)
            )
            self._save_epoch(number, run)
            progress(self._epochs[-1])

    def _solve_phase(self, phase: Phase) -> Epoch:
        """Solve the head in one step; nothing is saved before the end of the phase, which takes seconds."""
        started = time.perf_counter()
        trained, averaged = self._networks.trained, self._networks.averaged
        loss = self._solve(phase)
        _copy_weights(averaged, trained)
        seconds = time.perf_counter() - started
        self._epochs.append(Epoch(len(self._epochs) + 1, phase.name, phase.learning_rate, loss, None, None, seconds))
        return self._epochs[-1]

    def _save_epoch(self, number: int, run: PhaseRun) -> None:
        networks, best = self._networks, self._best()
        if best.epoch == len(self._epochs):
            self._folder.save_best(best.epoch, run.moving.averaged)
        state = State(
            number,
            self._steps,
            tuple(self._epochs),
            run.moving.trained,
            run.moving.averaged if networks.averaged is not networks.trained else {},
            networks.domain.state_dict() if networks.domain else {},
            run.optimiser.state_dict(),
            run.scaler.state_dict(),
        )
        self._folder.save(state, best)

    def _restore(self, state: State) -> None:
        networks = self._networks
        start = self._folder.load_phase(state.phase)
        for network, changed in ((networks.trained, state.network), (networks.averaged, state.averaged)):
            if changed:
                network.load_state_dict({**start, **changed})
        if networks.domain:
            networks.domain.load_state_dict(dict(state.domain))
        self._epochs = list(state.epochs)
        self._steps = state.steps

    def _finish(self) -> History:
        """Load the weights that are kept, ready for prediction, and return the history."""
        trained, best = self._networks.trained, self._best()
        if best.epoch and best.epoch < len(self._epochs):
            trained.load_state_dict(dict(self._folder.load_best(best)))
        else:
            _copy_weights(trained, self._networks.averaged)
        trained.requires_grad_().eval()
        distributed.wait()
        return History(tuple(self._epochs), best.epoch or len(self._epochs))

    def _best(self) -> BestEpoch:
        """Return the best epoch if it is the one to keep, otherwise an empty record."""
        best = find_best_epoch(self._epochs) if self._config.keep == "best" else None
        names = [phase.name for phase in self._config.phases]
        return BestEpoch(best.number, names.index(best.phase) + 1) if best else BestEpoch()

    def _epochs_of(self, phase: Phase) -> list[Epoch]:
        return [epoch for epoch in self._epochs if epoch.phase == phase.name]

    def _is_finished(self, phase: Phase) -> bool:
        own_epochs = self._epochs_of(phase)
        return len(own_epochs) == phase.epochs or has_stalled(own_epochs, phase.patience)


def _domain_head(network: HybridNetwork, config: FitConfig, device: torch.device) -> DomainHead:
    torch.manual_seed(config.seed)
    return DomainHead(network.fusion.width).to(device)


def _copy_weights(target: HybridNetwork, source: HybridNetwork) -> None:
    if source is not target:
        target.load_state_dict(source.state_dict())
