"""The configuration of a training run, read from its TOML file, with overrides, and copied into the card."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from core.card import Fusion, Head, InputPolicy, Magnification, StainTarget, Triple
from core.files import first_problem
from core.labels import BACH, BINARY, BREAKHIS, IDC, LabelSet

PublishedName = Literal["hybrid", "efficientnet", "resnet50", "vgg16", "cnn", "none"]

Augmentations = Literal["ours"] | PublishedName  # "ours": the numbers of `Augmentation`; the others are published lists

Task = Literal["binary", "subtypes", "bach", "idc"]
_LABEL_SETS = {"binary": BINARY, "subtypes": BREAKHIS, "bach": BACH, "idc": IDC}

EVERY = "*"  # in place of an index: every part of a list


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How strongly training patches are changed; every number at 0 (`zoom` at 1) changes nothing.

    `stain`, `mixing` and `density` are standard deviations: of the log amount of each stain, of the
    mixing between colour channels, and of the optical density as a whole. `grey` and `blur` are the
    chances to lose some of the colour and some of the sharpness. `zoom` is the largest factor of scale.
    """

    stain: float = 0.3
    mixing: float = 0.05
    density: float = 0.1
    grey: float = 0.3
    blur: float = 0.2
    zoom: float = 1.4

    def __post_init__(self) -> None:
        if min(self.stain, self.mixing, self.density, self.grey, self.blur) < 0 or max(self.grey, self.blur) > 1:
            raise ValueError(f"augmentation must not be negative, and chances not above 1: {self}")
        if self.zoom < 1:
            raise ValueError(f"zoom must be at least 1, got {self.zoom}")


def flattened(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, str | int | float | bool]]:
    """Give every value with its dotted name; parts of a list are numbered from 0, None is "none"."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(f"{prefix}{key}.", value)
        elif isinstance(value, str | int | float):
            yield prefix + key, value
        elif value is None:
            yield prefix + key, "none"
        elif isinstance(value, tuple) and value and isinstance(value[0], Mapping):
            for number, part in enumerate(value):
                yield from flattened(f"{prefix}{key}.{number}.", part)
        elif isinstance(value, tuple):
            yield prefix + key, ", ".join(str(part) for part in value)


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
class Phase:
    """A stretch of training in which one part of the network learns.

    `unfrozen` is "head", "all", or "last:N": the head and the last N blocks of every branch (for VGG16 the last N
    convolutions). Frozen parts keep their batch statistics. `backbone_rate` is the rate of the unfrozen blocks,
    `learning_rate` of the head; None makes them one. `warm_up` is the share of the phase in which the rates rise.
    `cached` is the number of changed copies of each image whose features are kept while only the head learns;
    0 draws new ones every time and runs the backbone. `patience` stops the phase after so many epochs
    without a better validation figure; 0 never does. Under `plateau` the rates are multiplied by `plateau_factor`
    whenever the validation loss has not fallen for more than `plateau_patience` epochs.
    """

    name: str
    epochs: int
    unfrozen: str
    learning_rate: float
    backbone_rate: float | None = None
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    warm_up: float = 0.0
    cached: int = 0
    patience: int = 0
    plateau_factor: float = 0.5
    plateau_patience: int = 2

    def __post_init__(self) -> None:
        part, _, count = self.unfrozen.partition(":")
        if not (self.unfrozen in ("head", "all") or (part == "last" and count.isdigit() and int(count) > 0)):
            raise ValueError(f'unfrozen is "head", "all" or "last:N", got {self.unfrozen!r}')
        if self.epochs < 1 or not self.learning_rate > 0 or not (self.backbone_rate is None or self.backbone_rate > 0):
            raise ValueError(f"phase {self.name!r} needs an epoch and learning rates above 0")
        if self.cached < 0 or self.patience < 0 or not 0 <= self.warm_up < 1:
            raise ValueError(f"phase {self.name!r}: cached and patience must not be negative, warm_up 0 to below 1")
        if not 0 < self.plateau_factor < 1 or self.plateau_patience < 0:
            raise ValueError(f"phase {self.name!r}: plateau_factor lies between 0 and 1, plateau_patience from 0")
        if self.cached and self.unfrozen != "head":
            raise ValueError(f"phase {self.name!r} trains blocks of its branches, so their features cannot be cached")

    @property
    def last_blocks(self) -> int:
        """How many blocks of each branch learn beside the head; 0 for none, -1 for all."""
        return {"head": 0, "all": -1}.get(self.unfrozen) or int(self.unfrozen.partition(":")[2] or 0)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which images make an epoch.

    `patients` draws a class, then a patient, then an image, all evenly. `shuffled` shows every image once.
    `weighted` draws with replacement, every class alike. `undersampled` shows as many images of every class
    as the smallest has, `second` at most as many as the second largest has, `oversampled` repeats
    images until every class is as large as the largest. `batches` is the length of an epoch; 0 means as
    many as the images fill.
    """

    kind: Literal["patients", "shuffled", "weighted", "undersampled", "second", "oversampled"] = "shuffled"
    batches: int = 0

    def __post_init__(self) -> None:
        if self.batches < 0 or (self.kind == "patients" and not self.batches):
            raise ValueError("sampling by patients has no natural end: say how many batches an epoch has")


@dataclass(frozen=True, slots=True)
class Loss:
    """What is made small: cross-entropy or focal loss (Lin et al., ICCV 2017), with weights and smoothing."""

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float = 2.0  # of the focal loss
    class_weights: Literal["none", "balanced"] = "none"
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.gamma < 0 or not 0 <= self.smoothing < 1:
            raise ValueError("gamma must not be negative, and smoothing at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class Optimiser:
    """How the weights move; `clip` is the largest gradient norm, 0 for none; `accumulation` batches make one step."""

    kind: Literal["adamw", "adam", "rmsprop"] = "adamw"
    weight_decay: float = 0.0
    clip: float = 0.0
    accumulation: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __post_init__(self) -> None:
        if self.weight_decay < 0 or self.clip < 0 or self.accumulation < 1:
            raise ValueError("weight_decay and clip must not be negative, and accumulation is at least 1")


@dataclass(frozen=True, slots=True)
class Adversarial:
    """Features are to hide which laboratory an image comes from (Ganin et al., JMLR 2016, gradient reversal)."""

    weight: float = 0.1  # of the domain loss, reached in a sigmoid rise over the run


@dataclass(frozen=True, slots=True)
class Protocol:
    """How patients are kept apart.

    `folds`: figures are pooled out of fold, then all patients train the checkpoint. `split`: two-stage stratified
    train / validation / test by patient. `shuffle_split`: the same by GroupShuffleSplit, as the hybrid's authors do.
    `official`: Spanhol's five folds, pooled.
    """

    kind: Literal["folds", "split", "shuffle_split", "official"] = "split"
    folds: int = 5
    seed: int = 0
    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        if self.folds < 2 or not (self.validation > 0 and self.test > 0 and self.validation + self.test < 1):
            raise ValueError(
                "a protocol needs two folds, and shares of validation and test that leave some for training"
            )


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How a network is built and trained; a key of the file that is not named here is an error.

    `dropout` is the chance of a whole feature channel before the head, and `averaging` the memory of the
    running average of the weights (0: none). `keep` says which weights are kept: those of the best validation figure or
    the last. `members` are trained from one start under neighbouring seeds, and the mean of their weights is kept.
    `cache_side` is the side, in pixels, that a patch (under `resize` the whole image) has among the decoded images
    kept on disk; 0 keeps the full size.
    `augmentations` names how training patches are changed: "ours" (the numbers of `augmentation`) or one of the
    published lists. `precision` is a wish: bf16 is granted only if nothing a reader sees would change.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    branches: tuple[str, ...]
    head: Head
    input_policy: InputPolicy
    mean: Triple
    std: Triple
    phases: tuple[Phase, ...]
    task: Task = "binary"
    fusion: Fusion = "concatenation"
    magnification: Magnification = "ignored"
    magnifications: tuple[str, ...] = ()  # train and judge on these only; () means all
    stain: StainTarget | None = None
    augmentations: Augmentations = "ours"
    augmentation: Augmentation = field(default_factory=Augmentation)
    generated: Generated | None = None
    pretrained: bool = False  # start from timm's weights; from scratch otherwise
    protocol: Protocol = field(default_factory=Protocol)
    sampling: Sampling = field(default_factory=Sampling)
    loss: Loss = field(default_factory=Loss)
    optimiser: Optimiser = field(default_factory=Optimiser)
    adversarial: Adversarial | None = None
    members: int = 1
    seed: int = 0
    batch_size: int = 32
    dropout: float = 0.0
    averaging: float = 0.0
    keep: Literal["best", "last"] = "last"
    cache_side: int = 0
    views: Literal["one", "seven", "eight"] = "eight"
    precision: Literal["fp32", "bf16"] = "fp32"
    # Reached by the locked threshold on held-out images; 0 means Youden's threshold. It is chosen after training, so it
    # is no part of the repr, by which a killed run recognises its configuration.
    sensitivity: float = field(default=0.0, repr=False)
    note: str = ""  # which published row this is, and where its numbers come from

    def __post_init__(self) -> None:
        if not self.phases or self.members < 1 or self.batch_size < 2:
            raise ValueError("a run needs a phase, a member, and two images in a batch")
        if len({phase.name for phase in self.phases}) < len(self.phases):
            raise ValueError("two phases have one name; the history tells them apart by it")
        if not all(0 <= share < 1 for share in (self.dropout, self.averaging)):
            raise ValueError("dropout and averaging must be at least 0 and below 1")
        if not 0 <= self.sensitivity <= 1:
            raise ValueError(f"the sensitivity of the threshold lies in 0..1, got {self.sensitivity}")
        if self.generated and self.task != "binary":
            raise ValueError("generated tissue is benign or malignant: it fits the binary task only")

    @property
    def label_set(self) -> LabelSet:
        """The classes that the network answers in."""
        return _LABEL_SETS[self.task]

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def caches_features(self) -> bool:
        """Whether some phase works on cached features."""
        return any(phase.cached for phase in self.phases)

    @classmethod
    def from_toml(cls, path: Path) -> "FitConfig":
        """Read a run's file; raises what `from_table` raises."""
        return cls.from_table(tomllib.loads(path.read_text(encoding="utf-8")), path.name)

    @classmethod
    def from_table(cls, table: Mapping[str, object], name: str) -> "FitConfig":
        """Check the values of a file that was already read; `name` is the file's, for the message.

        Raises:
            ValueError: If a key is unknown or missing, or holds a wrong value; the message names it.
        """
        try:
            return _ADAPTER.validate_python(table)
        except ValidationError as error:
            raise ValueError(f"{name}: {first_problem(error, 'the file')}") from error

    def flat(self) -> dict[str, str | int | float | bool]:
        """Give every value under its dotted name, for the card."""
        return dict(flattened("", asdict(self)))


_ADAPTER = TypeAdapter(FitConfig)


def read_config(path: Path, assignments: Sequence[str] = ()) -> tuple[FitConfig, str]:
    """Give the config of a file and the text that reads as the same config.

    An assignment is KEY=VALUE with a dotted key and a TOML value; a value that is not TOML is taken as text. Parts of a
    list are counted from 0, `*` stands for all of them, and nothing after the equals sign leaves the key out.

    Raises:
        ValueError: If the file or an assignment is not valid; the message names it.
    """
    text = path.read_text(encoding="utf-8")
    table = tomllib.loads(text)
    if not assignments:
        return FitConfig.from_table(table, path.name), text
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ValueError(f"--set wants KEY=VALUE, got {assignment!r}")
        _assign(table, key.strip(), value.strip())
    head = "".join(f"# --set {assignment}\n" for assignment in assignments)
    return FitConfig.from_table(table, path.name), f"# {path.name} with\n{head}{to_toml(table)}"


def to_toml(table: Mapping[str, object]) -> str:
    """Write a table that was read from TOML as TOML; comments are lost."""
    return "\n".join(_lines(table, "")) + "\n"


def toml_value(value: object) -> str:
    """Write one value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # The escapes of JSON are those of TOML, but for the pairs it makes of characters above U+FFFF, and for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(toml_value(part) for part in value)}]"
    return repr(value)


def _assign(table: object, key: str, value: str) -> None:
    head, dot, rest = key.partition(".")
    if isinstance(table, list):
        for place in _places(table, head, key):
            if dot:
                _assign(table[place], rest, value)
            else:
                table[place] = _parsed(value)
    elif not isinstance(table, dict):
        raise ValueError(f"--set {key}: there is a single value, which has no parts")
    elif dot:
        _assign(table.setdefault(head, {}), rest, value)
    elif value:
        table[head] = _parsed(value)
    else:
        table.pop(head, None)


def _places(parts: Sequence[object], head: str, key: str) -> Sequence[int]:
    if head == EVERY:
        return range(len(parts))
    if not head.isdigit() or int(head) >= len(parts):
        raise ValueError(f"--set ...{key}: {head!r} is not one of the {len(parts)} parts, which count from 0")
    return [int(head)]


def _parsed(value: str) -> object:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _lines(table: Mapping[str, object], prefix: str) -> list[str]:
    nested = {key: value for key, value in table.items() if isinstance(value, dict) or _is_tables(value)}
    lines = [f"{key} = {toml_value(value)}" for key, value in table.items() if key not in nested]
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *_lines(value, f"{name}.")]
        elif isinstance(value, list):
            for part in value:
                lines += ["", f"[[{name}]]", *_lines(part, f"{name}.")]
    return lines


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)
