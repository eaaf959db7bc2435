"""The configuration of a training run, read from a TOML file with overrides and copied into the card."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from core.card import Fusion, Head, InputPolicy, Magnification, StainTarget, Triple
from core.encoder import Encoder
from core.files import describe_first_problem
from core.imaging.scale import Scale
from core.imaging.working_scale import working_factor
from core.labels import BACH, BINARY, BREAKHIS, IDC, LabelSet

PublishedName = Literal["hybrid", "efficientnet", "resnet50", "vgg16", "cnn", "none"]

Augmentations = Literal["ours"] | PublishedName  # "ours": the strengths of `Augmentation`; others are published lists

Task = Literal["binary", "subtypes", "bach", "idc"]
_LABEL_SETS = {"binary": BINARY, "subtypes": BREAKHIS, "bach": BACH, "idc": IDC}

EVERY = "*"  # as the index of a list: every part of it


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The strengths of the augmentation of training patches; 0 (for `zoom` 1) switches a kind off.

    `stain`, `mixing` and `density` are standard deviations: of the log amount of each stain, of the mixing between
    colour channels, and of the overall optical density. `grey` and `blur` are the probabilities of reduced colour and
    reduced sharpness. `zoom` is the largest scale factor.
    """

    stain: float = 0.3
    mixing: float = 0.05
    density: float = 0.1
    grey: float = 0.3
    blur: float = 0.2
    zoom: float = 1.4

    def __post_init__(self) -> None:
        if min(self.stain, self.mixing, self.density, self.grey, self.blur) < 0 or max(self.grey, self.blur) > 1:
            raise ValueError(f"augmentation must not be negative, and grey and blur must not be above 1: {self}")
        if self.zoom < 1:
            raise ValueError(f"zoom must be at least 1, got {self.zoom}")


_STRONG = Augmentation(stain=0.5, mixing=0.1, density=0.2, grey=0.3, blur=0.4, zoom=1.8)


@dataclass(frozen=True, slots=True)
class Generated:
    """Strongly recoloured generated tissue, on which a network is warmed up before it is trained on patients.

    It teaches shape independently of colour and needs no images of patients. `share` is its part of every later batch.
    """

    images: int = 120
    batches: int = 150
    learning_rate: float = 2e-3
    share: float = 0.0
    augmentation: Augmentation = _STRONG

    def __post_init__(self) -> None:
        if min(self.images, self.batches) < 2 or not self.learning_rate > 0 or not 0 <= self.share < 1:
            raise ValueError(
                f"generated tissue needs two images, two batches, a learning rate above 0, and a share below 1: {self}"
            )


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of training with its own unfrozen layers and learning rates.

    `unfrozen` is "head", "all", or "last:N": the head and the last N blocks of every branch (for VGG16 the last N
    convolutions). Frozen parts keep their batch statistics. `learning_rate` applies to the head and `backbone_rate` to
    the unfrozen blocks; None means the same rate. `warm_up` is the share of the phase during which the rates rise.
    `cached` is the number of augmented copies of each image whose features are cached while only the head learns; with
    0, new copies are made in every epoch and the backbone runs. `patience` is the number of epochs without a better
    validation metric after which the phase stops; 0 means never. Under `plateau` the rates are multiplied by
    `plateau_factor` whenever the validation loss has not fallen for more than `plateau_patience` epochs.
    With `shrinkage` the head is not trained in steps but solved, without augmentation or learning rate: a logistic
    regression over the mean features of each image, in which every patient of a class weighs the same. Larger values
    shrink its weights more; of several, folds of the training patients choose.
    """

    name: str
    epochs: int
    unfrozen: str
    learning_rate: float = 1e-3
    backbone_rate: float | None = None
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    warm_up: float = 0.0
    cached: int = 0
    patience: int = 0
    plateau_factor: float = 0.5
    plateau_patience: int = 2
    shrinkage: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        part, _, count = self.unfrozen.partition(":")
        if not (self.unfrozen in ("head", "all") or (part == "last" and count.isdigit() and int(count) > 0)):
            raise ValueError(f'unfrozen must be "head", "all" or "last:N", got {self.unfrozen!r}')
        if self.epochs < 1 or not self.learning_rate > 0 or not (self.backbone_rate is None or self.backbone_rate > 0):
            raise ValueError(f"phase {self.name!r} needs at least one epoch and learning rates above 0")
        if self.cached < 0 or self.patience < 0 or not 0 <= self.warm_up < 1:
            raise ValueError(f"phase {self.name!r}: cached and patience must not be negative, and 0 <= warm_up < 1")
        if not 0 < self.plateau_factor < 1 or self.plateau_patience < 0:
            raise ValueError(f"phase {self.name!r}: 0 < plateau_factor < 1, and plateau_patience must not be negative")
        if self.cached and self.unfrozen != "head":
            raise ValueError(
                f"phase {self.name!r} trains blocks of its branches, so features cannot be cached: set cached to 0"
            )
        if self.shrinkage and not (self.unfrozen == "head" and self.epochs == 1 and min(self.shrinkage) > 0):
            raise ValueError(f"phase {self.name!r} solves the head: it needs one epoch and shrinkages above 0")

    @property
    def last_blocks(self) -> int:
        """The number of blocks of each branch that learn in addition to the head; 0 for none, -1 for all."""
        return {"head": 0, "all": -1}.get(self.unfrozen) or int(self.unfrozen.partition(":")[2] or 0)


@dataclass(frozen=True, slots=True)
class Sampling:
    """The images of an epoch.

    `patients` draws a class, then a patient, then an image, each with equal chances. `shuffled` uses every image once.
    `weighted` draws with replacement, with equal chances for every class. `undersampled` uses as many images of every
    class as the smallest class has, `second` at most as many as the second largest has, and `oversampled` repeats
    images until every class is as large as the largest. `batches` is the length of an epoch; 0 means as many as the
    images fill.
    """

    kind: Literal["patients", "shuffled", "weighted", "undersampled", "second", "oversampled"] = "shuffled"
    batches: int = 0

    def __post_init__(self) -> None:
        if self.batches < 0 or (self.kind == "patients" and not self.batches):
            raise ValueError("sampling by patients has no natural end: set batches, the number of batches in an epoch")


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss: cross-entropy or focal loss (Lin et al., ICCV 2017), with class weights and label smoothing."""

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float = 2.0  # of the focal loss
    class_weights: Literal["none", "balanced"] = "none"
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.gamma < 0 or not 0 <= self.smoothing < 1:
            raise ValueError("gamma must not be negative, and smoothing must be at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class Optimiser:
    """The optimiser; `clip` is the largest gradient norm, 0 for no limit; `accumulation` batches make one step."""

    kind: Literal["adamw", "adam", "rmsprop"] = "adamw"
    weight_decay: float = 0.0
    clip: float = 0.0
    accumulation: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __post_init__(self) -> None:
        if self.weight_decay < 0 or self.clip < 0 or self.accumulation < 1:
            raise ValueError("weight_decay and clip must not be negative, and accumulation must be at least 1")


@dataclass(frozen=True, slots=True)
class Adversarial:
    """Domain-adversarial training: features hide the laboratory (gradient reversal, Ganin et al., JMLR 2016)."""

    weight: float = 0.1  # of the domain loss, reached in a sigmoid rise over the run


@dataclass(frozen=True, slots=True)
class Protocol:
    """How patients are split.

    `folds`: metrics are pooled out of fold, then the checkpoint is trained on all patients. `dealt`: the same with
    patients dealt to folds at random, which shows how much the figures depend on the folds. `split`: two-stage
    stratified train / validation / test by patient. `shuffle_split`: the same by GroupShuffleSplit, as in the hybrid's
    publication. `official`: Spanhol's five folds, pooled.
    """

    kind: Literal["folds", "dealt", "split", "shuffle_split", "official"] = "split"
    folds: int = 5
    seed: int = 0
    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        if self.folds < 2 or not (self.validation > 0 and self.test > 0 and self.validation + self.test < 1):
            raise ValueError("a protocol needs at least two folds, and validation and test above 0 with a sum below 1")


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How a network is built and trained; any other key in the file is an error.

    `dropout` is the probability of dropping a whole feature channel before the head, and `averaging` the memory of the
    running average of the weights (0: none). `keep` selects the weights of the best epoch by validation or of the last
    one. `members` is the number of networks trained from one start with neighbouring seeds; the mean of their weights
    is kept. `cache_side` is the side in pixels of a patch (under `resize` of the whole image) in the cache of decoded
    images; 0 means full size. `augmentations` is "ours" (the strengths of `augmentation`) or a published list.
    `precision` is a request: bf16 is used only if nothing that a reader sees would change.
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
    magnifications: tuple[str, ...] = ()  # train and evaluate on these only; () means all
    # µm per pixel that images of known scale are resampled to, in training and in use; None: they stay as they are
    working_um_per_px: float | None = None
    stain: StainTarget | None = None
    augmentations: Augmentations = "ours"
    augmentation: Augmentation = field(default_factory=Augmentation)
    generated: Generated | None = None
    pretrained: bool = False  # start from timm's weights; otherwise from scratch
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
    views: Literal["one", "four", "seven", "eight"] = "eight"
    precision: Literal["fp32", "bf16"] = "fp32"
    # The sensitivity of the locked threshold on held-out images; 0 means Youden's threshold. The threshold is chosen
    # after training, so this is not part of the repr, by which a killed run recognises its configuration.
    sensitivity: float = field(default=0.0, repr=False)
    note: str = ""  # the published row that this reproduces, and the source of its numbers

    def __post_init__(self) -> None:
        if not self.phases or self.members < 1 or self.batch_size < 2:
            raise ValueError("a run needs at least a phase, a member, and two images in a batch")
        if len({phase.name for phase in self.phases}) < len(self.phases):
            raise ValueError("two phases share one name; rename one, because the history identifies phases by name")
        if not all(0 <= share < 1 for share in (self.dropout, self.averaging)):
            raise ValueError("dropout and averaging must be at least 0 and below 1")
        if not 0 <= self.sensitivity <= 1:
            raise ValueError(f"the sensitivity of the threshold must lie in 0..1, got {self.sensitivity}")
        if self.working_um_per_px is not None:
            Scale(self.working_um_per_px, "typed")
            if self.input_policy.kind == "resize":
                raise ValueError("a network that sees whole images squeezed into a square has no working_um_per_px")
        if self.generated and self.task != "binary":
            raise ValueError("generated tissue is benign or malignant, so it can be used for the binary task only")
        if any(phase.shrinkage for phase in self.phases):
            self._check_solvable()

    def _check_solvable(self) -> None:
        """Refuse a network whose head is not one linear layer over the features, and an option that would be unused."""
        one_layer = self.head in ("additive", "linear") and self.fusion == "concatenation"
        if not one_layer or self.magnification != "ignored" or len(self.label_set.classes) != 2:
            raise ValueError(
                "a head with a shrinkage is one linear layer for two classes: it needs the head additive or linear, "
                "fusion by concatenation and magnification ignored"
            )
        if self.keep != "last":
            raise ValueError('a head with a shrinkage has no epochs to choose from: set keep to "last"')

    @property
    def label_set(self) -> LabelSet:
        """The classes that the network predicts."""
        return _LABEL_SETS[self.task]

    def factor_of(self, um_per_px: float | None) -> float:
        """Return how many times larger an image of this scale becomes; 1 if its scale or the working one is unknown."""
        return working_factor(um_per_px, self.working_um_per_px)

    @property
    def encoder(self) -> Encoder | None:
        """None: a run trains timm's networks as they are."""
        return None

    @property
    def epochs(self) -> int:
        """The number of epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def caches_features(self) -> bool:
        """Whether any phase uses cached features."""
        return any(phase.cached or phase.shrinkage for phase in self.phases)

    @classmethod
    def from_toml(cls, path: Path) -> "FitConfig":
        """Read the configuration of a run from its file.

        Raises:
            ValueError: If the file is not valid TOML, or as in `from_table`.
        """
        return cls.from_table(tomllib.loads(path.read_text(encoding="utf-8")), path.name)

    @classmethod
    def from_table(cls, table: Mapping[str, object], name: str) -> "FitConfig":
        """Return the configuration of a parsed file; `name` is the name of the file, for the message.

        Raises:
            ValueError: If a key is unknown or missing or has a wrong value; the message names it.
        """
        try:
            return _ADAPTER.validate_python(table)
        except ValidationError as error:
            raise ValueError(f"{name}: {describe_first_problem(error, 'the file')}") from error

    def flat(self) -> dict[str, str | int | float | bool]:
        """Return every value under its dotted name, for the card."""
        return dict(flatten("", asdict(self)))


_ADAPTER = TypeAdapter(FitConfig)


def flatten(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, str | int | float | bool]]:
    """Yield every value with its dotted name; parts of a list are numbered from 0, and None is "none"."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(f"{prefix}{key}.", value)
        elif isinstance(value, str | int | float):
            yield prefix + key, value
        elif value is None:
            yield prefix + key, "none"
        elif isinstance(value, tuple) and value and isinstance(value[0], Mapping):
            for number, part in enumerate(value):
                yield from flatten(f"{prefix}{key}.{number}.", part)
        elif isinstance(value, tuple):
            yield prefix + key, ", ".join(str(part) for part in value)


def read_config(path: Path, assignments: Sequence[str] = ()) -> tuple[FitConfig, str]:
    """Return the configuration of a file with assignments, and a TOML text of the same configuration.

    An assignment is KEY=VALUE with a dotted key and a TOML value; a value that is not TOML is read as text. Parts of a
    list are counted from 0, `*` means all of them, and an empty value removes the key.

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
            raise ValueError(f"--set needs KEY=VALUE, got {assignment!r}")
        _assign(table, key.strip(), value.strip())
    head = "".join(f"# --set {assignment}\n" for assignment in assignments)
    return FitConfig.from_table(table, path.name), f"# {path.name} with\n{head}{to_toml(table)}"


def to_toml(table: Mapping[str, object]) -> str:
    """Return a parsed TOML table as TOML text; comments are lost."""
    return "\n".join(_format_lines(table, "")) + "\n"


def toml_value(value: object) -> str:
    """Return one value as TOML text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON escapes are valid TOML except for surrogate pairs (not written here) and DEL.
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
                table[place] = _parse_value(value)
    elif not isinstance(table, dict):
        raise ValueError(f"--set {key}: this is a single value and has no parts")
    elif dot:
        _assign(table.setdefault(head, {}), rest, value)
    elif value:
        table[head] = _parse_value(value)
    else:
        table.pop(head, None)


def _places(parts: Sequence[object], head: str, key: str) -> Sequence[int]:
    if head == EVERY:
        return range(len(parts))
    if not head.isdigit() or int(head) >= len(parts):
        raise ValueError(f"--set ...{key}: {head!r} is not one of the {len(parts)} parts, which count from 0")
    return [int(head)]


def _parse_value(value: str) -> object:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _format_lines(table: Mapping[str, object], prefix: str) -> list[str]:
    nested = {key: value for key, value in table.items() if isinstance(value, dict) or _is_tables(value)}
    lines = [f"{key} = {toml_value(value)}" for key, value in table.items() if key not in nested]
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *_format_lines(value, f"{name}.")]
        elif isinstance(value, list):
            for part in value:
                lines += ["", f"[[{name}]]", *_format_lines(part, f"{name}.")]
    return lines


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)
