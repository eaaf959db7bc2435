"""The hybrid network: convolutional and transformer branches, their fusion, and the explanation of each logit."""

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.card import Fusion, Head, InputPolicy, Magnification
from core.encoder import Encoder
from core.labels import MAGNIFICATIONS, LabelSet
from core.network.branches import Branch, ConvolutionalBranch, build_branch, list_blocks

_ATTENTION_WIDTH = 256
_ATTENTION_HEADS = 8
# Gao et al. find no gain above 8,000 and little loss at half of that.
_SKETCH_WIDTH = 4096
# Added under the square root, whose slope at zero would be infinite.
_SMALLEST = 1e-8

PUBLISHED_BRANCHES = ("tf_efficientnetv2_s", "vit_base_patch16_224")
PLACES = 4  # parts of a patch in each direction, for a map of what is unlike the training images
MAGNIFICATION_WIDTH = 16  # numbers that represent a magnification, appended to the fused vector


class Concatenation(nn.Module):
    """Concatenate one vector from each branch."""

    wants_tokens = False

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.width = sum(widths)

    def forward(self, pooled: Sequence[Tensor]) -> Tensor:
        """Return images x width."""
        return torch.cat(list(pooled), dim=1)


class CrossAttention(nn.Module):
    """Let the tokens of each branch attend to those of all others, then average and concatenate.

    The attention is that of Vaswani et al. (NeurIPS 2017), with the inputs normalised and a residual connection.
    """

    wants_tokens = True

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError("cross-attention needs two branches or more: each attends to the others")
        width = _ATTENTION_WIDTH
        self.width = width * len(widths)
        self.projections = nn.ModuleList(nn.Sequential(nn.Linear(w, width), nn.LayerNorm(width)) for w in widths)
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(width, _ATTENTION_HEADS, batch_first=True) for _ in widths
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in widths)

    def forward(self, pooled: Sequence[Tensor]) -> Tensor:
        """Return images x width; the input of each branch is images x tokens x channels."""
        tokens = [project(branch) for project, branch in zip(self.projections, pooled, strict=True)]
        averages = []
        for number, (attend, norm) in enumerate(zip(self.attentions, self.norms, strict=True)):
            others = torch.cat(tokens[:number] + tokens[number + 1 :], dim=1)
            attended, _ = attend(tokens[number], others, others, need_weights=False)
            averages.append(norm(tokens[number] + attended).mean(dim=1))
        return torch.cat(averages, dim=1)


class CompactBilinear(nn.Module):
    """Sketch the products of all channel pairs (Gao et al., "Compact Bilinear Pooling", CVPR 2016).

    The count sketch of an outer product is the circular convolution of its factors' count sketches (Pham and Pagh,
    KDD 2013), hence a product of Fourier transforms. A single branch is multiplied with itself at every position and
    summed, as in the paper; for several branches, whose grids differ, the pooled vectors are multiplied (Fukui et al.,
    EMNLP 2016).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.wants_tokens = fuses_tokens("compact_bilinear", len(widths))
        self.width = _SKETCH_WIDTH
        factors = [*widths, *widths] if self.wants_tokens else list(widths)
        # Saved with the weights: with other places and signs it would be another network.
        generator = torch.Generator().manual_seed(0)
        for number, channels in enumerate(factors):
            places = torch.randint(_SKETCH_WIDTH, (channels,), generator=generator, device="cpu")
            signs = torch.randint(2, (channels,), generator=generator, device="cpu").float() * 2 - 1
            self.register_buffer(f"places_{number}", places)
            self.register_buffer(f"signs_{number}", signs)

    def forward(self, pooled: Sequence[Tensor]) -> Tensor:
        """Return images x width, with signed square roots and unit length."""
        factors = [pooled[0], pooled[0]] if self.wants_tokens else list(pooled)
        products = self._spectrum(0, factors[0])
        for number, factor in enumerate(factors[1:], start=1):
            products = products * self._spectrum(number, factor)
        sketch = torch.fft.irfft(products.sum(dim=1) if self.wants_tokens else products, n=self.width)
        rooted = sketch.sign() * ((sketch.abs() + _SMALLEST).sqrt() - math.sqrt(_SMALLEST))
        return nn.functional.normalize(rooted, dim=1)

    def _spectrum(self, number: int, factor: Tensor) -> Tensor:
        """Return the Fourier transform of the count sketch over the last axis, in single precision."""
        places, signs = self.get_buffer(f"places_{number}"), self.get_buffer(f"signs_{number}")
        signed = factor.float() * signs
        sketch = signed.new_zeros(*factor.shape[:-1], self.width).index_add(-1, places, signed)
        spectrum: Tensor = torch.fft.rfft(sketch)
        return spectrum


FusionModule = Concatenation | CrossAttention | CompactBilinear


def fuses_tokens(kind: Fusion, branches: int) -> bool:
    """Return whether a fusion of this many branches takes all their tokens instead of one vector from each."""
    return kind == "cross_attention" or (kind == "compact_bilinear" and branches == 1)


def build_fusion(kind: Fusion, widths: Sequence[int]) -> FusionModule:
    """Build the fusion of branches with these numbers of channels.

    Raises:
        ValueError: If the fusion needs more branches.
    """
    kinds: dict[Fusion, type[FusionModule]] = {
        "concatenation": Concatenation,
        "cross_attention": CrossAttention,
        "compact_bilinear": CompactBilinear,
    }
    return kinds[kind](widths)


class NetworkPlan(Protocol):
    """What both a card and a run's configuration specify about their network."""

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches, in order."""

    @property
    def head(self) -> Head:
        """The classification head."""

    @property
    def fusion(self) -> Fusion:
        """How the branches become one vector."""

    @property
    def magnification(self) -> Magnification:
        """How the magnification enters the network."""

    @property
    def input_policy(self) -> InputPolicy:
        """How an image becomes patches."""

    @property
    def label_set(self) -> LabelSet:
        """The classes of the outputs."""

    @property
    def encoder(self) -> Encoder | None:
        """How the only branch differs from timm's network of its name; None if it does not."""


class HybridNetwork(nn.Module):
    """Branches side by side, fused into one vector, and a head over it.

    The `published` head is that of the hybrid's authors. `linear` is one layer over the input of each branch's
    own classifier: the class token of a transformer, the average of a feature map. `dense` is the head of the published
    Keras networks. `additive` is one linear layer over the averages of every branch; with fusion by concatenation, the
    mean of the evidence plus the parts without a position (bias and magnification) is exactly the logit.
    """

    def __init__(  # noqa: PLR0913 - the parts of a network, each with a default
        self,
        branches: Sequence[str],
        head: Head,
        classes: int,
        *,
        fusion: Fusion = "concatenation",
        magnification: Magnification = "ignored",
        pretrained: bool = False,
        weight_files: Mapping[str, Path] | None = None,
        input_side: int = 224,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        files = weight_files or {}
        # A fusion of tokens takes the patch tokens only, without the class token.
        class_token = head != "additive" and not fuses_tokens(fusion, len(branches))
        self.branches = nn.ModuleList(
            build_branch(
                name,
                input_side,
                class_token=class_token,
                pretrained=pretrained,
                file=files.get(name),
                encoder=encoder,
            )
            for name in branches
        )
        self.fusion: FusionModule = build_fusion(fusion, [branch.width for branch in self._branches()])
        width = self.fusion.width + (MAGNIFICATION_WIDTH if magnification == "input" else 0)
        self.head = build_head(head, width, classes)
        if magnification == "input":
            self.magnification_embedding = nn.Embedding(len(MAGNIFICATIONS) + 1, MAGNIFICATION_WIDTH)
        if magnification == "auxiliary":
            self.magnification_head = nn.Linear(width, len(MAGNIFICATIONS))
        self.magnification = magnification

    def _branches(self) -> list[Branch]:
        return list(self.branches)  # type: ignore[arg-type]

    def features(self, images: Tensor) -> list[Tensor]:
        """Return each branch's features, from images x 3 x side x side."""
        return [branch.features(images) for branch in self._branches()]

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """The channels of each layer that `features_and_places` describes."""
        return tuple(width for branch in self._branches() for width in branch.layer_widths)

    @property
    def reference_widths(self) -> tuple[int, ...]:
        """The channels of the layers by which images are compared with the training images, the first of all layers.

        These are the layers of the convolutional branches before the first transformer, whose last layer is made to see
        past laboratories and cameras; all layers, if a transformer comes first.
        """
        leading = takewhile(lambda branch: isinstance(branch, ConvolutionalBranch), self._branches())
        return tuple(width for branch in leading for width in branch.layer_widths) or self.layer_widths

    def features_and_places(self, images: Tensor, described: int) -> tuple[list[Tensor], Tensor]:
        """Return each branch's features and, from the same pass, a description of the first images.

        The description is images x PLACES x PLACES x values: for each layer of `layer_widths` the mean of every channel
        over that part of the image, then the mean square of every channel.
        """
        features, layers = self.features_and_layers(images)
        return features, describe_places(layers, described)

    def features_and_layers(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return each branch's features and, from the same pass, the layers of `layer_widths`, as maps."""
        features, layers = [], []
        for branch in self._branches():
            last, early = branch.features_and_layers(images)
            features.append(last)
            layers += early
        return features, layers

    def pooled(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the input of the fusion from each branch: images x channels, or images x tokens x channels."""
        parts = zip(self._branches(), features, strict=True)
        return [branch.tokens(f) if self.fusion.wants_tokens else branch.pool(f) for branch, f in parts]

    def logits_of(self, pooled: Sequence[Tensor], magnifications: Tensor | None = None) -> Tensor:
        """Return logits, images x classes; magnifications are indices (see core.labels), None means unknown."""
        fused = self.fusion(pooled)
        if self.magnification == "input":
            fused = torch.cat([fused, self._embed_magnifications(fused, magnifications)], dim=1)
        logits: Tensor = self.head(fused)
        return logits

    def auxiliary(self, pooled: Sequence[Tensor]) -> Tensor | None:
        """Return logits, images x magnifications, if the magnification is an auxiliary target; else None."""
        if self.magnification != "auxiliary":
            return None
        logits: Tensor = self.magnification_head(self.fusion(pooled))
        return logits

    def logits(self, features: Sequence[Tensor], magnifications: Tensor | None = None) -> Tensor:
        """Return logits, images x classes, from the features."""
        return self.logits_of(self.pooled(features), magnifications)

    def forward(self, images: Tensor, magnifications: Tensor | None = None) -> Tensor:
        """Return logits, images x classes."""
        return self.logits(self.features(images), magnifications)

    def evidence(self, features: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return each branch's evidence, images x rows x columns of that branch, in logit units."""
        parts = zip(self._branches(), features, gradients, strict=True)
        return [branch.evidence(f.float(), g.float()) for branch, f, g in parts]

    def blocks(self) -> list[list[nn.Module]]:
        """Return the blocks of every branch from input to output, as "last:N" counts them."""
        return [list_blocks(branch) for branch in self._branches()]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the weights outside the branches: fusion, head, and the layers for the magnification."""
        return [weight for name, weight in self.named_parameters() if not name.startswith("branches.")]

    def _embed_magnifications(self, fused: Tensor, magnifications: Tensor | None) -> Tensor:
        if magnifications is None:
            magnifications = torch.full((len(fused),), len(MAGNIFICATIONS), device=fused.device)
        embedded: Tensor = self.magnification_embedding(magnifications)
        return embedded


def describe_places(layers: Sequence[Tensor], described: int) -> Tensor:
    """Return the description of `features_and_places`, in single precision, from the maps of all layers."""
    values = []
    for layer in layers:
        part = layer[:described].float()
        values += [functional.adaptive_avg_pool2d(one, PLACES) for one in (part, part * part)]
    return torch.cat(values, dim=1).permute(0, 2, 3, 1)


def build_hybrid_network(
    plan: NetworkPlan, *, pretrained: bool = False, weight_files: Mapping[str, Path] | None = None
) -> HybridNetwork:
    """Build the network that a card or a run's configuration specifies.

    Raises:
        ValueError: If a branch or the fusion of these branches cannot be built.
        MissingWeightsError: If requested weights are not available; the message says how to pass a file.
    """
    return HybridNetwork(
        plan.branches,
        plan.head,
        len(plan.label_set.classes),
        fusion=plan.fusion,
        magnification=plan.magnification,
        pretrained=pretrained,
        weight_files=weight_files,
        input_side=plan.input_policy.input_side,
        encoder=plan.encoder,
    )


def build_head(kind: Head, width: int, classes: int) -> nn.Module:
    """Build the layers between the fused vector and the logits."""
    if kind == "published":
        return build_published_head(width, classes)
    if kind == "dense":
        return nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, classes))
    return nn.Linear(width, classes)


def build_published_head(width: int, classes: int) -> nn.Sequential:
    """Build the classification layers of the published hybrid."""
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
