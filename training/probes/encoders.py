"""Find a frozen encoder by a timm name, an `hf-hub:` id or a TOML file, and build it with its weights."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import timm
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from timm.models import load_model_config_from_hf, load_state_dict_from_hf
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from core.card import Head, InputPolicy, Triple
from core.encoder import Encoder
from core.files import describe_first_problem
from core.labels import BINARY
from core.network.branches import MissingWeightsError
from core.network.encoder_weights import load_encoder, read_weights
from core.network.hybrid import HybridNetwork

HUB = "hf-hub:"
CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "encoders"
_SEE_CARD = "read it on the model's own page"


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """A frozen encoder: its architecture, how images enter it, and what is known of its training.

    `encoder` is None for timm's networks as they are. `saw` names datasets of ours whose images its pretraining saw:
    figures on these flatter it. `weights` is an `hf-hub:` id, "timm", or "file" for those passed as a local file.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    architecture: str
    mean: Triple
    std: Triple
    input_side: int = 224
    weights: str = "file"
    licence: str = _SEE_CARD
    saw: tuple[str, ...] = ()
    note: str = ""
    encoder: Encoder | None = None

    @property
    def head(self) -> Head:
        """The head of a checkpoint: one layer over the vector that the encoder's own classifier would see."""
        return "additive" if self.encoder is not None and self.encoder.pooling == "mean" else "linear"

    @classmethod
    def from_toml(cls, path: Path) -> "EncoderConfig":
        """Read an encoder from its file.

        Raises:
            ValueError: If the file is not valid; the message names the key.
        """
        try:
            return _ADAPTER.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise ValueError(f"{path.name}: {describe_first_problem(error, 'the file')}") from error


_ADAPTER = TypeAdapter(EncoderConfig)


def find_encoder(text: str) -> EncoderConfig:
    """Find an encoder by the path of its TOML file or its name in configs/encoders, an `hf-hub:` id, or a timm name.

    Raises:
        ValueError: If there is no such encoder, or it has arguments that a checkpoint cannot name.
        MissingWeightsError: If its config cannot be fetched.
    """
    for path in (Path(text), CONFIGS / f"{text}.toml"):
        if path.suffix == ".toml" and path.is_file():
            return EncoderConfig.from_toml(path)
    if text.startswith(HUB):
        return _find_on_hub(text)
    config = timm.get_pretrained_cfg(text) if timm.is_model(text) else None
    if config is None:
        known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
        raise ValueError(
            f"{text!r} is not an encoder: pass a timm name, hf-hub:ID, a TOML file, or one of {known} "
            "(in configs/encoders)"
        )
    with torch.device("meta"):
        net = timm.create_model(text, num_classes=0)
    without_class = isinstance(net, VisionTransformer) and net.cls_token is None
    return EncoderConfig(
        encoder=Encoder(pooling="mean") if without_class else None,
        name=text,
        architecture=text,
        mean=_triple(config.mean),
        std=_triple(config.std),
        input_side=config.input_size[-1],
        weights="timm",
    )


def build_network(config: EncoderConfig, file: Path | None = None, *, random: bool = False) -> HybridNetwork:
    """Build a network of one branch with the encoder's weights and an untrained head of two classes.

    Raises:
        ValueError: If the weights are not those of the architecture.
        MissingWeightsError: If they are not available; the message says how to pass a file.
    """
    if file is not None and not file.is_file():
        raise MissingWeightsError(f"no weights for {config.name} at {file}: pass an existing .safetensors file")
    own = config.weights == "timm" and file is None
    network = HybridNetwork(
        (config.architecture,),
        config.head,
        len(BINARY.classes),
        pretrained=own and not random,
        input_side=config.input_side,
        encoder=config.encoder,
    ).eval()
    if not (own or random):
        net = network.branches[0].net
        if not isinstance(net, VisionTransformer):
            raise ValueError(f"{config.architecture} is not a vision transformer: pass its weights as timm's own")
        load_encoder(net, _read_hub(config) if file is None else read_weights(file))
    return network


def input_policy(config: EncoderConfig, patch_side: int) -> InputPolicy:
    """Cut squares of this side, without gaps or overlap, and scale them to what the encoder sees."""
    return InputPolicy("patches", input_side=config.input_side, patch_side=patch_side, stride=patch_side)


def _find_on_hub(text: str) -> EncoderConfig:
    try:
        pretrained, architecture, arguments = load_model_config_from_hf(text.removeprefix(HUB))
    except Exception as error:  # offline, the hub's client raises errors of several libraries
        raise MissingWeightsError(f"cannot get the config of {text}: {error}") from error
    return read_hub_config(text, architecture, pretrained, arguments or {})


def read_hub_config(
    text: str, architecture: str, pretrained: Mapping[str, object], arguments: Mapping[str, object]
) -> EncoderConfig:
    """Return the encoder that a `config.json` of timm's format describes.

    Raises:
        ValueError: If it has arguments that a checkpoint cannot name.
    """
    # The number of classes and the pooling of timm's own head are replaced by ours.
    kept = {key: value for key, value in arguments.items() if key not in ("num_classes", "global_pool", "img_size")}
    pooling = "mean" if arguments.get("global_pool", pretrained.get("global_pool")) == "avg" else "class"
    table = {
        "name": text.removeprefix(HUB),
        "architecture": architecture,
        "mean": pretrained.get("mean"),
        "std": pretrained.get("std"),
        "input_side": arguments.get("img_size") or _last(pretrained.get("input_size")),
        "weights": text,
    }
    if architecture.startswith("vit_"):
        table["encoder"] = {"pooling": pooling, **kept}
    elif kept:
        raise ValueError(f"{text} has arguments that only vision transformers may have here: {', '.join(kept)}")
    try:
        return _ADAPTER.validate_python(table)
    except ValidationError as error:
        raise ValueError(f"{text}: {describe_first_problem(error, 'its config')}") from error


def _read_hub(config: EncoderConfig) -> Mapping[str, Tensor]:
    if not config.weights.startswith(HUB):
        raise MissingWeightsError(f"{config.name} has no weights of its own: pass a .safetensors file with --weights")
    try:
        state: Mapping[str, Tensor] = load_state_dict_from_hf(config.weights.removeprefix(HUB), weights_only=True)
    except Exception as error:  # offline, the hub's client raises errors of several libraries
        raise MissingWeightsError(
            f"cannot get the weights of {config.weights}: {error}. If offline, download the file elsewhere and "
            "pass it with --weights"
        ) from error
    return state


def _triple(values: tuple[float, ...]) -> Triple:
    red, green, blue = values
    return red, green, blue


def _last(values: object) -> object:
    return values[-1] if isinstance(values, list | tuple) and values else 224
