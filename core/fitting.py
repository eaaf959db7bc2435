"""The training loop as one function: patients drawn evenly, patches changed by chance, weights averaged."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.datasets import LabelledImage
from core.fit_config import FitConfig, Generated
from core.metrics import auc
from core.network import HybridNetwork
from core.patches import cut, fit_boxes
from core.results import Patches, RgbImage
from core.sampling import GeneratedPatches, PatientPatches, load_image

_LARGEST_GRADIENT = 2.0
_VALIDATION_BATCH = 32
# The average starts with a short memory, or it would hold the random weights of the start for long.
_FIRST_MEMORY = 10


@dataclass(frozen=True, slots=True)
class Epoch:
    """What was measured in one epoch; the validation figures are those of the averaged weights."""

    number: int
    learning_rate: float
    loss: float
    validation_loss: float | None = None
    validation_auc: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """A training run, epoch by epoch."""

    epochs: tuple[Epoch, ...]


def fit(
    network: HybridNetwork,
    train: Sequence[LabelledImage],
    validation: Sequence[LabelledImage],
    config: FitConfig,
    *,
    progress: Callable[[Epoch], None] = lambda epoch: None,
) -> History:
    """Train a network in place to tell benign from malignant; it ends with its averaged weights.

    No epoch is chosen by its validation figures, so these stay honest. `validation` may be empty.
    """
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    share = round(config.generated.share * config.batch_size) if config.generated else 0
    sources: list[PatientPatches | GeneratedPatches] = [PatientPatches(train, config.batch_size - share, config, rng)]
    if config.generated and share:
        sources.append(GeneratedPatches(config.generated, share, config, rng))
    run = _Run(network, sources, config)
    held_out = _HeldOut(validation, config) if validation else None
    epochs = []
    for number in range(1, config.epochs + 1):
        loss = run.train_epoch()
        judged = held_out.judge(run.averaged, config) if held_out else (None, None)
        epochs.append(Epoch(number, run.learning_rate, loss, *judged))
        progress(epochs[-1])
    run.finish()
    return History(tuple(epochs))


def warm_up(network: HybridNetwork, generated: Generated, config: FitConfig) -> Epoch:
    """Train a network in place on generated tissue; no patient is seen, so folds may share the outcome."""
    torch.manual_seed(config.seed)
    brief = replace(config, epochs=1, batches=generated.batches, learning_rate=generated.learning_rate)
    source = GeneratedPatches(generated, config.batch_size, config, np.random.default_rng(config.seed))
    run = _Run(network, [source], brief)
    loss = run.train_epoch()
    run.finish()
    return Epoch(1, run.learning_rate, loss)


def mean_network(members: Sequence[HybridNetwork]) -> HybridNetwork:
    """Average the weights of networks that were trained from one start.

    The mean errs less than its members and costs no more than one (Wortsman et al., ICML 2022).
    """
    mean = copy.deepcopy(members[0])
    for number, member in enumerate(members):
        _average(mean, member, memory=number / (number + 1))
    return mean


class _Run:
    """A network with its optimiser, the sources of its batches, and the running average of its weights."""

    def __init__(
        self, network: HybridNetwork, sources: Sequence[PatientPatches | GeneratedPatches], config: FitConfig
    ) -> None:
        self._network = network.to(memory_format=torch.channels_last)
        self._sources = sources
        self._config = config
        self._optimiser = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, lambda step: _rate(step, config))
        self._steps = 0
        self.averaged = copy.deepcopy(network).eval()

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._schedule.get_last_lr()[0])

    def train_epoch(self) -> float:
        """Take the steps of one epoch; give their mean loss."""
        self._network.train()
        return float(np.mean([self._step() for _ in range(self._config.batches)]))

    def finish(self) -> None:
        """Leave the network with its averaged weights, ready for prediction."""
        self._network.load_state_dict(self.averaged.state_dict())
        self._network.eval()

    def _step(self) -> float:
        config = self._config
        drawn = [source.draw() for source in self._sources]
        patches = np.concatenate([patches for patches, _ in drawn])
        malignant = torch.tensor([label for _, labels in drawn for label in labels])
        features = self._network.features(_standardised(patches, config))
        if config.head == "additive":  # the published head has its own dropout
            features = [_drop_channels(f, config.dropout) for f in features]
        logits = self._network.logits(features)
        loss = functional.cross_entropy(logits, malignant, label_smoothing=config.smoothing)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), _LARGEST_GRADIENT)
        self._optimiser.step()
        self._schedule.step()
        self._steps += 1
        _average(self.averaged, self._network, min(config.averaging, self._steps / (_FIRST_MEMORY + self._steps)))
        return float(loss.item())


class _HeldOut:
    """Validation images, cut as in serving, judged in one view after every epoch."""

    def __init__(self, images: Sequence[LabelledImage], config: FitConfig) -> None:
        self._patches = [_cut_all(load_image(image, config), config) for image in images]
        self._malignant = np.array([image.malignancy == "malignant" for image in images])

    def judge(self, network: HybridNetwork, config: FitConfig) -> tuple[float, float | None]:
        """Give the mean loss by image and, where both kinds are held out, the AUC."""
        with torch.inference_mode():
            malignant = np.array([_probability(network, patches, config) for patches in self._patches])
        right = np.clip(np.where(self._malignant, malignant, 1 - malignant), 1e-6, 1)
        both = 0 < self._malignant.sum() < len(self._malignant)
        return float(-np.log(right).mean()), auc(self._malignant, malignant) if both else None


def _cut_all(image: RgbImage, config: FitConfig) -> Patches:
    height, width = image.shape[:2]
    boxes = fit_boxes(height, width, config.input_policy)
    return cut(image, boxes, config.input_policy.input_side)


def _standardised(patches: Patches, config: FitConfig) -> Tensor:
    mean, std = (torch.tensor(triple).view(3, 1, 1) for triple in (config.mean, config.std))
    batch = (torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255 - mean) / std
    return batch.contiguous(memory_format=torch.channels_last)


def _drop_channels(features: Tensor, chance: float) -> Tensor:
    """Silence whole channels (of images x channels x rows x columns, or images x tokens x channels)."""
    shape = (len(features), features.shape[1], 1, 1) if features.ndim == 4 else (len(features), 1, features.shape[2])
    return features * functional.dropout(features.new_ones(shape), chance)


def _probability(network: HybridNetwork, patches: Patches, config: FitConfig) -> float:
    chunks = [patches[i : i + _VALIDATION_BATCH] for i in range(0, len(patches), _VALIDATION_BATCH)]
    logits = torch.cat([network(_standardised(chunk, config)) for chunk in chunks])
    return float(logits.softmax(dim=1)[:, 1].mean())


def _rate(step: int, config: FitConfig) -> float:
    """Give the share of the learning rate: a linear rise, under a cosine that ends at zero."""
    steps = config.epochs * config.batches
    rise = min(1.0, (step + 1) / max(1.0, config.warm_up * steps))
    return rise * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps)))


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, memory: float) -> None:
    """Move the averaged weights and statistics towards the network's."""
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - memory)
        else:
            mean.copy_(value)
