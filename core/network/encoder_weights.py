"""Load the weights of others' vision transformers into timm's network, whatever their files call them."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

# Names of Dinov2Model in the package transformers, and what timm calls the same weight.
_TRANSFORMERS_NAMES = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"layernorm\.", "norm."),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"encoder\.layer\.(\d+)\.layer_scale(\d)\.lambda1", r"blocks.\1.ls\2.gamma"),
    (r"encoder\.layer\.(\d+)\.mlp\.weights_in\.", r"blocks.\1.mlp.fc1."),
    (r"encoder\.layer\.(\d+)\.mlp\.weights_out\.", r"blocks.\1.mlp.fc2."),
    (r"encoder\.layer\.(\d+)\.(norm\d|mlp\.fc\d)\.", r"blocks.\1.\2."),
)
_QUERY = re.compile(r"encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a `.safetensors` file, from which no code can run.

    Raises:
        ValueError: If it is not one.
    """
    try:
        return load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a .safetensors file: {error}") from error


def load_encoder(net: VisionTransformer, weights: Mapping[str, Tensor]) -> None:
    """Load weights named as by timm, by the authors of DINOv2, or by transformers; the sizes of grids are adapted.

    Raises:
        ValueError: If they are not those of this architecture; the message names the first weight that does not fit.
    """
    named = _from_transformers(weights) if "embeddings.cls_token" in weights else dict(weights)
    if "mask_token" not in named:
        _check_positions(net, named)
    named = checkpoint_filter_fn(named, net)
    named = {name: tensor for name, tensor in named.items() if not name.startswith(("head.", "fc_norm."))}
    expected = net.state_dict()
    for name in (*sorted(expected.keys() - named.keys()), *sorted(named.keys() - expected.keys())):
        side = "lack" if name in expected else "have"
        raise ValueError(f"the weights {side} {name}: the architecture or its arguments are not those of the file")
    for name, tensor in named.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)} in the file, {tuple(expected[name].shape)} in the network"
            raise ValueError(f"{name} does not fit: {shapes}")
    net.load_state_dict(named)


def _from_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a Dinov2Model; its query, key and value become one matrix."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name == "embeddings.mask_token" or ".attention.attention." in name:
            continue
        for pattern, replacement in _TRANSFORMERS_NAMES:
            if re.match(pattern, name):
                renamed[re.sub(f"^{pattern}", replacement, name)] = tensor
                break
        else:
            raise ValueError(f"the weights have {name}, which is not a name of a Dinov2Model")
    for name in weights:
        if match := _QUERY.fullmatch(name):
            parts = [weights[name.replace("query", part)] for part in ("query", "key", "value")]
            renamed[f"blocks.{match[1]}.attn.qkv.{match[2]}"] = torch.cat(parts)
    return renamed


def _check_positions(net: VisionTransformer, named: Mapping[str, Tensor]) -> None:
    """Refuse a position embedding with another number of extra tokens: timm would stretch it into a wrong grid."""
    positions = named.get("pos_embed")
    if positions is None:
        return
    extra = 0 if net.no_embed_class else net.num_prefix_tokens
    places = positions.shape[1] - extra
    if places < 1 or math.isqrt(places) ** 2 != places:
        raise ValueError(
            f"pos_embed has {positions.shape[1]} places, which are not {extra} and a square grid: check reg_tokens and "
            "no_embed_class"
        )
