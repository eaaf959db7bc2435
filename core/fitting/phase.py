"""One phase of a run: its optimiser, the source of its batches, and the steps of its epochs."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core.fitting import distributed
from core.fitting.adversarial import DomainHead, TargetImages, domain_weight
from core.fitting.averaging import MovingWeights
from core.fitting.batches import BatchSource, FeatureSource, PatchSource, TrainingBatch
from core.fitting.config import FitConfig
from core.fitting.feature_cache import Features, PatchList, compute_features
from core.fitting.freezing import begin_phase, build_optimiser, rate_share, set_modes
from core.fitting.held_out import HeldOutImages
from core.fitting.images import UNKNOWN, Draw, TrainingImages
from core.fitting.loss import Objective, Totals, class_weights
from core.fitting.sampling import TORCH, make_generator
from core.network.hybrid import HybridNetwork
from core.results import RgbImage
from core.run_history import Epoch, count_reductions


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The images of a run, and the folder of cached features."""

    train: TrainingImages
    held_out: HeldOutImages | None
    targets: TargetImages | None
    cache: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """The trained network, its running average (the same network if nothing is averaged), and the domain head."""

    trained: HybridNetwork
    averaged: HybridNetwork
    domain: DomainHead | None


class PhaseRun:
    """A phase in progress; `moving` holds the weights that it changes."""

    def __init__(self, networks: Networks, data: Data, config: FitConfig, number: int, device: torch.device) -> None:
        """Freeze the parts that do not learn and compute the features, if they are cached.

        `number` counts the phases from 1.
        """
        self._networks = networks
        self._data = data
        self._config = config
        self._number = number
        self._phase = config.phases[number - 1]
        self._device = device
        begin_phase(networks.trained, self._phase)
        self._held_out_features: Features | None = None
        self._source = self._open_source()
        set_modes(networks.trained, self._phase)
        # A head is small compared with its branches: visiting all their modules would take longer than an epoch.
        self._in_training = [module for module in networks.trained.modules() if module.training]
        self.moving = MovingWeights(networks.trained, networks.averaged)
        domain = networks.domain if self._hides_domain else None
        self.optimiser = build_optimiser(networks.trained, domain, self._phase, config.optimiser)
        scaled = config.optimiser.precision == "fp16" and device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        classes = len(config.label_set.classes)
        weights = class_weights(data.train.weighed_labels, classes, config.loss)
        self._weight_of_image = weights.numpy()[data.train.labels]
        objective = Objective(networks.trained, weights, config, domain).to(device)
        self._objective = distributed.average_gradients(objective)

    @property
    def _hides_domain(self) -> bool:
        """Whether features can change, so that hiding the laboratory has an effect."""
        return self._networks.domain is not None and self._phase.last_blocks != 0

    def train_epoch(self, number: int, done: Sequence[Epoch], steps_before: int) -> "EpochResult":
        """Train one epoch; `number` counts from 1 within this phase.

        `done` are the earlier epochs of this phase, `steps_before` is the number of earlier steps of the run.

        Raises:
            ValueError: If the loss is no longer a finite number.
        """
        self._set_training(True)
        # Processes see different images and need different dropout.
        place = (self._number, number, distributed.rank())
        torch.manual_seed(int(make_generator(self._config.seed, TORCH, *place).integers(2**63)))
        draws = self._data.train.epoch(self._number, number, self._phase.cached)
        batches = self._source.batches(draws, self._number, number)
        reduction_count = count_reductions(done, self._phase.plateau_patience)
        size = self._config.optimiser.accumulation
        steps = [draws[start : start + size] for start in range(0, len(draws), size)]
        total = torch.zeros((), device=self._device)
        for step, step_draws in enumerate(steps):
            position = (number - 1) * len(steps) + step
            rate_factor = rate_share(self._phase, position, self._phase.epochs * len(steps), reduction_count)
            hiding = self._domain_weight(number - 1 + step / len(steps))
            total += self._step(step_draws, batches, rate_factor, hiding)
            if self._config.averaging:
                self.moving.average(self._config.averaging, steps_before + step + 1)
        self.moving.agree()
        loss = float(distributed.sum_over_processes(total)) / len(steps)
        if not np.isfinite(loss):
            raise ValueError(f"the loss of phase {self._phase.name!r} is not a finite number: lower its learning rate")
        return EpochResult(loss, self._phase.learning_rate * rate_factor, steps_before + len(steps))

    def judge(self) -> tuple[float | None, float | None]:
        """Return the loss and AUC of the averaged weights on the validation images; None without them."""
        if self._data.held_out is None:
            return None, None
        if self._networks.averaged is self._networks.trained:
            self._set_training(False)
        return self._data.held_out.judge(self._networks.averaged, self._held_out_features)

    def _set_training(self, training: bool) -> None:
        for module in self._in_training:
            module.training = training

    def _open_source(self) -> BatchSource:
        """Open the source of batches; if features are cached, those of the validation images are cached, too."""
        train, copies, network = self._data.train, self._phase.cached, self._networks.trained
        if not copies:
            return PatchSource(train, self._data.targets if self._hides_domain else None, self._config, self._device)

        def make(row: int) -> RgbImage:
            return train.copy(*divmod(row, copies))

        patches = PatchList(len(train) * copies, make, train.name)
        features = compute_features(network, patches, self._config, self._data.cache, self._device)
        if self._data.held_out:
            self._held_out_features = self._data.held_out.features(network, self._data.cache)
        return FeatureSource(train, features, copies)

    def _step(self, draws: Sequence[Draw], batches: Iterator[TrainingBatch], share: float, hiding: float) -> Tensor:
        """Take one step at this share of the learning rates and return this process's part of its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * share
        totals = self._totals(draws)
        loss = torch.zeros((), device=self._device)
        for place, batch in enumerate(islice(batches, len(draws)), start=1):
            with nullcontext() if place == len(draws) else distributed.without_exchange(self._objective):
                part = self._objective(batch, totals, hiding)
                # Gradients are averaged over processes, but each has only its own part of the sum.
                self.scaler.scale(part * distributed.world_size()).backward()
            loss += part.detach()
        if self._config.optimiser.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self._learning_parameters(), self._config.optimiser.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()
        return loss

    def _totals(self, draws: Sequence[Draw]) -> Totals:
        images = np.concatenate([draw.images for draw in draws])
        magnifications = np.concatenate([draw.magnifications for draw in draws])
        weight = float(self._weight_of_image[images].sum())
        return Totals(weight, len(images), int((magnifications < UNKNOWN).sum()))

    def _learning_parameters(self) -> list[nn.Parameter]:
        return [weight for group in self.optimiser.param_groups for weight in group["params"]]

    def _domain_weight(self, epochs: float) -> float:
        """Return the weight of the domain loss after this (fractional) number of epochs of this phase."""
        if self._config.adversarial is None:
            return 0.0
        before = sum(phase.epochs for phase in self._config.phases[: self._number - 1])
        return domain_weight(self._config.adversarial.weight, (before + epochs) / self._config.epochs)


@dataclass(frozen=True, slots=True)
class EpochResult:
    """The result of training one epoch."""

    loss: float
    learning_rate: float  # of the head, in the last step
    steps: int  # of the run so far
