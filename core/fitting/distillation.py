"""Distil a vision transformer from a convolutional branch: from images without labels it learns to repeat its features.

Where no pretrained weights of a transformer can be had, this gives it a start. The transformer predicts the feature map
of the frozen convolutional branch at every position, as in FitNets (Romero et al., ICLR 2015).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from core.data.datasets import LabelledImage
from core.fitting.augmentation import training_patch
from core.fitting.config import FitConfig, Phase
from core.fitting.freezing import rate_share
from core.fitting.loading import make_ahead, standardise
from core.fitting.pixel_cache import Pixels, open_pixels
from core.fitting.sampling import DISTILLATION, make_generator
from core.fitting.state import Values, write_atomically
from core.network.branches import ConvolutionalBranch, TransformerBranch, build_branch
from core.results import Patches

_SAVED_EVERY = 50  # steps; a killed run repeats as many
_MEASURED = 512  # patches from which the mean and spread of every channel of the convolutional branch are taken
_CLIP = 1.0  # largest norm of the gradient


@dataclass(frozen=True, slots=True)
class Distillation:
    """The length and the rates of a distillation: AdamW with a linear warm-up and a cosine that ends at zero."""

    steps: int = 1200
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.05  # share of the steps

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size) < 1 or not self.learning_rate > 0:
            raise ValueError("a distillation needs at least one step, one patch in a batch and a learning rate above 0")

    @property
    def phase(self) -> Phase:
        """The only phase, which has the rates."""
        return Phase("distillation", 1, "all", self.learning_rate, schedule="cosine", warm_up=self.warm_up)


class DistilledStep(NamedTuple):
    """One step: its number, from 1, and the share of the variance of the feature map that was predicted."""

    number: int
    explained: float


def distil(
    config: FitConfig,
    images: Sequence[LabelledImage],
    how: Distillation,
    *,
    state: Path,
    cache: Path | None = None,
    device: str = "cpu",
    progress: Callable[[DistilledStep], None] = lambda step: None,
) -> dict[str, Tensor]:
    """Return the weights, by timm's names, of the transformer of a network, distilled from its convolutional branch.

    The network has one branch of either kind. `state` is the file from which a killed run resumes. Labels are not used.

    Raises:
        ValueError: If the network has other branches, or the state belongs to another run.
        MissingWeightsError: If the pretrained weights of the convolutional branch are not available.
        UnreadableImageError: If an image cannot be read.
    """
    run = _Run(config, images, how, state, torch.device(device))
    run.train(open_pixels(images, config, cache), progress)
    return run.weights()


class _Run:
    """Both branches, the layer between their channels, and the optimiser of what learns."""

    def __init__(
        self, config: FitConfig, images: Sequence[LabelledImage], how: Distillation, state: Path, device: torch.device
    ) -> None:
        self._config = config
        self._how = how
        self._state = state
        self._device = device
        files = [(image.path.name, image.um_per_px) for image in images]
        self._fingerprint = hashlib.sha256(repr((config, asdict(how), files)).encode()).hexdigest()
        torch.manual_seed(config.seed)
        self._teacher, self._student = _build_branches(config)
        self._teacher.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._student.to(device)
        self._projection = nn.Linear(self._student.width, self._teacher.width).to(device)
        self._learning = [*self._student.parameters(), *self._projection.parameters()]
        self._optimiser = optim.AdamW(self._learning, lr=how.learning_rate, weight_decay=how.weight_decay, fused=True)
        self._mean = self._deviation = torch.empty(0)

    def train(self, pixels: Pixels, progress: Callable[[DistilledStep], None]) -> None:
        """Take all steps that an earlier, killed run has not taken."""
        done = self._restore()
        if not done:
            self._measure(pixels)
        steps = range(done, self._how.steps)
        batches = make_ahead(lambda step: self._make_patches(pixels, step), steps)
        for step, patches in zip(steps, batches, strict=True):
            progress(DistilledStep(step + 1, self._step(patches, step)))
            if (step + 1) % _SAVED_EVERY == 0 or step + 1 == self._how.steps:
                self._save(step + 1)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the transformer, on the CPU."""
        return {name: tensor.cpu().contiguous() for name, tensor in self._student.net.state_dict().items()}

    def _make_patches(self, pixels: Pixels, step: int) -> Patches:
        """Return random augmented patches; each depends on the seed, the step and its place alone."""
        patches = []
        for place in range(self._how.batch_size):
            rng = make_generator(self._config.seed, DISTILLATION, step, place)
            image = pixels.images[int(rng.integers(len(pixels.images)))]
            patches.append(training_patch(image, pixels.policy, self._config, rng))
        return np.stack(patches)

    def _to_images(self, patches: Patches) -> Tensor:
        return standardise(patches, self._config, self._device)

    def _measure(self, pixels: Pixels) -> None:
        """Measure the mean and the spread of every channel of the map to be predicted."""
        count = -(-_MEASURED // self._how.batch_size)
        with torch.no_grad():
            maps = [self._teacher.features(self._to_images(self._make_patches(pixels, step))) for step in range(count)]
        channels = torch.cat([one.flatten(2).transpose(1, 2).flatten(0, 1) for one in maps])
        self._mean = channels.mean(dim=0).view(-1, 1, 1)
        # A channel that is always zero stays zero.
        self._deviation = channels.std(dim=0).clamp(min=1e-4).view(-1, 1, 1)

    def _step(self, patches: Patches, step: int) -> float:
        """Take one step and return the share of the variance that was predicted before it."""
        self._student.train()
        images = self._to_images(patches)
        with torch.no_grad():
            target = (self._teacher.features(images) - self._mean) / self._deviation
        # Random weights need no more precision than this, and it takes a third of the time.
        with torch.autocast(self._device.type, torch.bfloat16):
            tokens = self._student.as_map(self._projection(self._student.features(images)))
        predicted = functional.adaptive_avg_pool2d(tokens.float(), (target.shape[-2], target.shape[-1]))
        loss = functional.mse_loss(predicted, target)
        for group in self._optimiser.param_groups:
            group["lr"] = self._how.learning_rate * rate_share(self._how.phase, step, self._how.steps, reductions=0)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._learning, _CLIP)
        self._optimiser.step()
        return 1 - float(loss.detach() / target.square().mean())

    def _save(self, done: int) -> None:
        values: Values = {
            "fingerprint": self._fingerprint,
            "done": done,
            "student": self._student.state_dict(),
            "projection": self._projection.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "mean": self._mean,
            "deviation": self._deviation,
        }
        write_atomically(self._state, values)

    def _restore(self) -> int:
        """Take up the state of an earlier run and return the number of its steps; 0 if there is none."""
        if not self._state.exists():
            return 0
        stored = torch.load(self._state, map_location=self._device, weights_only=True)
        if stored["fingerprint"] != self._fingerprint:
            raise ValueError(
                f"{self._state} is the state of another distillation: resume it with the same configuration, options "
                "and images, or remove it"
            )
        self._student.load_state_dict(stored["student"])
        self._projection.load_state_dict(stored["projection"])
        self._optimiser.load_state_dict(stored["optimiser"])
        self._mean, self._deviation = stored["mean"], stored["deviation"]
        return int(stored["done"])


def _build_branches(config: FitConfig) -> tuple[ConvolutionalBranch, TransformerBranch]:
    """Return the pretrained convolutional branch and the transformer with random weights."""
    side = config.input_policy.input_side
    branches = {name: build_branch(name, side, class_token=False) for name in config.branches}
    students = [branch for branch in branches.values() if isinstance(branch, TransformerBranch)]
    teachers = [name for name, branch in branches.items() if isinstance(branch, ConvolutionalBranch)]
    if len(students) != 1 or len(teachers) != 1:
        raise ValueError(
            f"{config.name} has the branches {', '.join(config.branches)}: it takes one vision transformer, "
            "and one convolutional network to learn from"
        )
    teacher = build_branch(teachers[0], side, class_token=False, pretrained=True)
    assert isinstance(teacher, ConvolutionalBranch)  # noqa: S101 - the same network as above
    return teacher, students[0]
