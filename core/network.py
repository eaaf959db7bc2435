"""The networks: a hybrid of convolutional and transformer branches that can explain its own logits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

Head = Literal["published", "additive"]

PUBLISHED_BRANCHES = ("tf_efficientnetv2_s", "vit_base_patch16_224")


class MissingWeightsError(Exception):
    """Pretrained weights that cannot be fetched; the message says how to pass a local file."""


class ConvolutionalBranch(nn.Module):
    """A timm network that ends in a feature map, averaged over its area."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.width = int(net.num_features)  # type: ignore[arg-type]

    def features(self, images: Tensor) -> Tensor:
        """Give the last feature map, images x channels x rows x columns."""
        features: Tensor = self.net.forward_features(images)  # type: ignore[operator]
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Average the feature map over its area, images x channels."""
        return features.mean(dim=(2, 3))

    def evidence(self, features: Tensor, gradients: Tensor) -> Tensor:
        """Weigh the channels by their gradients, images x rows x columns, in logit units.

        This is Grad-CAM (Selvaraju et al., ICCV 2017) before its rectification, times the number of
        positions, so that the mean over positions is what the map adds to the logit.
        """
        return torch.einsum("nc,nchw->nhw", gradients.sum(dim=(2, 3)), features)


class TransformerBranch(nn.Module):
    """A timm vision transformer, pooled by its class token or by the average of its patch tokens."""

    def __init__(self, net: VisionTransformer, *, class_token: bool) -> None:
        super().__init__()
        self.net = net
        self.class_token = class_token
        self.width = int(net.num_features)

    def features(self, images: Tensor) -> Tensor:
        """Give the tokens that the evidence is measured on, images x tokens x channels.

        The last block passes nothing from its patch tokens to the class token's output, so a network
        read at its class token is explained at the input of that block (gradients behind it are zero).
        """
        net = self.net
        tokens = net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(images))))
        if self.class_token:
            features: Tensor = net.blocks[:-1](tokens)
            return features
        normed: Tensor = net.norm(net.blocks(tokens))
        return normed[:, net.num_prefix_tokens :]

    def pool(self, features: Tensor) -> Tensor:
        """Give one vector an image, images x channels."""
        if not self.class_token:
            return features.mean(dim=1)
        last = self.net.blocks[-1]
        token: Tensor = self.net.norm(_class_token_through(last, features))[:, 0]
        return token

    def evidence(self, features: Tensor, gradients: Tensor) -> Tensor:
        """Weigh the channels of the patch tokens, images x rows x columns, in logit units."""
        prefix = self.net.num_prefix_tokens if self.class_token else 0
        tokens, gradients = features[:, prefix:], gradients[:, prefix:]
        rows, columns = self.net.patch_embed.grid_size
        return torch.einsum("nc,ntc->nt", gradients.sum(dim=1), tokens).reshape(-1, rows, columns)


Branch = ConvolutionalBranch | TransformerBranch


def _class_token_through(block: nn.Module, tokens: Tensor) -> Tensor:
    """Run the last block for its class token only: every other output would be thrown away."""
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


class HybridNetwork(nn.Module):
    """Branches side by side, their averages concatenated, and a head over them.

    The `published` head is that of the hybrid's authors. Under the `additive` head, one linear layer
    over averages, the mean of the evidence plus the bias is the logit, exactly.
    """

    def __init__(
        self,
        branches: Sequence[str],
        head: Head,
        classes: int,
        *,
        pretrained: bool = False,
        weight_files: Mapping[str, Path] | None = None,
        input_side: int = 224,
    ) -> None:
        super().__init__()
        files = weight_files or {}
        self.branches = nn.ModuleList(
            _build_branch(name, head, input_side, pretrained=pretrained, file=files.get(name)) for name in branches
        )
        width = sum(branch.width for branch in self._branches())
        self.head = published_head(width, classes) if head == "published" else nn.Linear(width, classes)

    def _branches(self) -> list[Branch]:
        return list(self.branches)  # type: ignore[arg-type]

    def features(self, images: Tensor) -> list[Tensor]:
        """Give each branch's features, from images x 3 x side x side."""
        return [branch.features(images) for branch in self._branches()]

    def logits(self, features: Sequence[Tensor]) -> Tensor:
        """Give images x classes from the features."""
        pooled = [branch.pool(f) for branch, f in zip(self._branches(), features, strict=True)]
        logits: Tensor = self.head(torch.cat(pooled, dim=1))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Give images x classes, in logits."""
        return self.logits(self.features(images))

    def evidence(self, features: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """Give each branch's evidence, images x rows x columns of that branch, in logit units."""
        parts = zip(self._branches(), features, gradients, strict=True)
        return [branch.evidence(f.float(), g.float()) for branch, f, g in parts]


def published_head(width: int, classes: int) -> nn.Sequential:
    """Build the fusion and classification layers of the published hybrid."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 1024),
        nn.GELU(),
        nn.LayerNorm(1024),
        nn.Dropout(0.6),
        nn.Linear(1024, 1024),
        nn.LayerNorm(1024),
        nn.Linear(1024, 512),
        nn.GELU(),
        nn.Dropout(0.7),
        nn.Linear(512, classes),
    )


def _build_branch(name: str, head: Head, input_side: int, *, pretrained: bool, file: Path | None) -> Branch:
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"*{name.split('_', maxsplit=1)[0]}*")[:5]) or "none"
        raise ValueError(f"{name!r} is not a timm network; near names: {close}")
    transformer = timm.model_entrypoint(name).__module__ == VisionTransformer.__module__
    # Without fc_norm the average is taken behind the norm, so each token's share of the logit is known.
    options = {"img_size": input_side, "global_pool": "avg", "fc_norm": False} if transformer else {}
    net = _create(name, options, pretrained=pretrained, file=file)
    if isinstance(net, VisionTransformer):
        return TransformerBranch(net, class_token=head == "published")
    return ConvolutionalBranch(net)


def _create(name: str, options: Mapping[str, Any], *, pretrained: bool, file: Path | None) -> nn.Module:
    if file is not None and not file.is_file():
        raise MissingWeightsError(f"there is no file of weights for {name} at {file}")
    if file is not None:
        options = {**options, "pretrained_cfg_overlay": {"file": str(file)}}
    try:
        net: nn.Module = timm.create_model(name, pretrained or file is not None, num_classes=0, **options)
    # The hub's client raises errors of several libraries when it is offline; all mean the same to the caller.
    except Exception as error:
        if not pretrained and file is None:
            raise
        raise MissingWeightsError(
            f"cannot get pretrained weights for {name}: {error}. Without a network, download the file elsewhere "
            f"and pass it as --weights {name}=FILE"
        ) from error
    return net
