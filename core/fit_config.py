"""All numbers of one training run, read from its TOML file and copied into the card."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from core.augmentation import Augmentation
from core.card import InputPolicy, StainTarget, Triple

_STRONG = Augmentation(stain=0.5, mixing=0.1, density=0.2, grey=0.3, blur=0.4, zoom=1.8)


@dataclass(frozen=True, slots=True)
class Generated:
    """Generated tissue on which a network is warmed up before it sees a patient, strongly recoloured.

    It teaches form without colour and needs nobody's images. `share` is its part of every later batch.
    """

    images: int = 120
    batches: int = 150
    learning_rate: float = 2e-3
    share: float = 0.0
    augmentation: Augmentation = _STRONG

    def __post_init__(self) -> None:
        if min(self.images, self.batches) < 2 or not self.learning_rate > 0 or not 0 <= self.share < 1:
            raise ValueError(f"generated tissue needs two images, two batches, a rate, and a share below 1: {self}")


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How a network is built and trained; a key of the file that is not named here is an error.

    `warm_up` is the share of the run in which the learning rate rises, `dropout` the chance of a whole
    feature channel before the head, `smoothing` that of the labels, and `averaging` the memory of the
    running average of the weights, which is what is kept in the end. `members` are trained from one start
    under neighbouring seeds, and the mean of their weights is kept. `precision` is a wish: bf16 is
    granted only if nothing a reader sees would change.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    branches: tuple[str, ...]
    head: Literal["published", "additive"]
    input_policy: InputPolicy
    mean: Triple
    std: Triple
    stain: StainTarget | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    generated: Generated | None = None
    pretrained: bool = False  # start from timm's weights; from scratch otherwise
    members: int = 1
    folds: int = 5
    fold_seed: int = 0
    seed: int = 0
    epochs: int = 20
    batches: int = 10  # of an epoch
    batch_size: int = 32
    learning_rate: float = 1e-3
    warm_up: float = 0.1
    weight_decay: float = 0.05
    dropout: float = 0.3
    smoothing: float = 0.1
    averaging: float = 0.99
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if min(self.epochs, self.batches, self.members) < 1 or min(self.folds, self.batch_size) < 2:
            raise ValueError("a run needs an epoch, a batch, a member, two images in it, and two folds")
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise ValueError("the learning rate must be above 0 and the weight decay not below")
        if not all(0 <= share < 1 for share in (self.warm_up, self.dropout, self.smoothing, self.averaging)):
            raise ValueError("warm_up, dropout, smoothing and averaging must be at least 0 and below 1")

    @classmethod
    def from_toml(cls, path: Path) -> "FitConfig":
        """Read a run's file.

        Raises:
            ValueError: If a key is unknown or missing, or holds a wrong value; the message names it.
        """
        try:
            return _ADAPTER.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ValueError(f"{path.name}: {where}: {first['msg']}") from error

    def flat(self) -> dict[str, str | int | float | bool]:
        """Give every value under its dotted name, for the card."""
        return dict(_flattened("", asdict(self)))


_ADAPTER = TypeAdapter(FitConfig)


def _flattened(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, str | int | float | bool]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(f"{prefix}{key}.", value)
        elif isinstance(value, str | int | float):
            yield prefix + key, value
        elif value is None:
            yield prefix + key, "none"
        elif isinstance(value, tuple):
            yield prefix + key, ", ".join(str(part) for part in value)
