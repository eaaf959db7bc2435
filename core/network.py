"""The networks: a hybrid of convolutional and transformer branches that can explain its own logits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from core.card import Fusion, Head, InputPolicy, Magnification
from core.labels import MAGNIFICATIONS, LabelSet
from core.nets.branches import Branch, MissingWeightsError, blocks_of, build_branch
from core.nets.fusion import FusionModule, build_fusion, fuses_tokens

if TYPE_CHECKING:  # serving builds networks too, and needs nothing of training
    from core.fit_config import FitConfig

__all__ = [
    "MAGNIFICATION_WIDTH",
    "PUBLISHED_BRANCHES",
    "HybridNetwork",
    "MissingWeightsError",
    "build_network",
    "network_of",
    "published_head",
]

PUBLISHED_BRANCHES = ("tf_efficientnetv2_s", "vit_base_patch16_224")
MAGNIFICATION_WIDTH = 16  # numbers that stand for a magnification beside the fused vector


class Plan(Protocol):
    """What a card and a run's file both say of the network they speak of."""

    @property
    def branches(self) -> tuple[str, ...]: ...
    @property
    def head(self) -> Head: ...
    @property
    def fusion(self) -> Fusion: ...
    @property
    def magnification(self) -> Magnification: ...
    @property
    def input_policy(self) -> InputPolicy: ...
    @property
    def label_set(self) -> LabelSet: ...


class HybridNetwork(nn.Module):
    """Branches side by side, fused into one vector, and a head over it.

    The `published` head is that of the hybrid's authors. `linear` is one layer over what each branch's own classifier
    would see: the class token of a transformer, the average of a feature map. `dense` is the head of the Keras rows.
    Under the `additive` head, one linear layer over averages of every branch, and fusion by concatenation, the mean of
    the evidence plus what no position gave (the bias and the magnification's share) is the logit, exactly.
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
    ) -> None:
        super().__init__()
        files = weight_files or {}
        # A fusion of tokens takes those of the patches, of which the class token is no part.
        class_token = head != "additive" and not fuses_tokens(fusion, len(branches))
        self.branches = nn.ModuleList(
            build_branch(name, input_side, class_token=class_token, pretrained=pretrained, file=files.get(name))
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
        """Give each branch's features, from images x 3 x side x side."""
        return [branch.features(images) for branch in self._branches()]

    def pooled(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Give what the fusion takes of each branch: images x channels, or images x tokens x channels."""
        parts = zip(self._branches(), features, strict=True)
        return [branch.tokens(f) if self.fusion.wants_tokens else branch.pool(f) for branch, f in parts]

    def logits_of(self, pooled: Sequence[Tensor], magnifications: Tensor | None = None) -> Tensor:
        """Give images x classes; magnifications are indices (see core.labels), None means unknown."""
        fused = self.fusion(pooled)
        if self.magnification == "input":
            fused = torch.cat([fused, self._embedded(fused, magnifications)], dim=1)
        logits: Tensor = self.head(fused)
        return logits

    def auxiliary(self, pooled: Sequence[Tensor]) -> Tensor | None:
        """Give images x magnifications, in logits, where the magnification is an auxiliary target."""
        if self.magnification != "auxiliary":
            return None
        logits: Tensor = self.magnification_head(self.fusion(pooled))
        return logits

    def logits(self, features: Sequence[Tensor], magnifications: Tensor | None = None) -> Tensor:
        """Give images x classes from the features."""
        return self.logits_of(self.pooled(features), magnifications)

    def forward(self, images: Tensor, magnifications: Tensor | None = None) -> Tensor:
        """Give images x classes, in logits."""
        return self.logits(self.features(images), magnifications)

    def evidence(self, features: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """Give each branch's evidence, images x rows x columns of that branch, in logit units."""
        parts = zip(self._branches(), features, gradients, strict=True)
        return [branch.evidence(f.float(), g.float()) for branch, f, g in parts]

    def blocks(self) -> list[list[nn.Module]]:
        """Give the parts of every branch from input to output, as "last:N" counts them."""
        return [blocks_of(branch) for branch in self._branches()]

    def head_parameters(self) -> list[nn.Parameter]:
        """Give the weights of all that is not a branch: fusion, head, and what knows of the magnification."""
        return [weight for name, weight in self.named_parameters() if not name.startswith("branches.")]

    def _embedded(self, fused: Tensor, magnifications: Tensor | None) -> Tensor:
        if magnifications is None:
            magnifications = torch.full((len(fused),), len(MAGNIFICATIONS), device=fused.device)
        embedded: Tensor = self.magnification_embedding(magnifications)
        return embedded


def network_of(
    plan: Plan, *, pretrained: bool = False, weight_files: Mapping[str, Path] | None = None
) -> HybridNetwork:
    """Build the network that a card or a run's file names.

    Raises:
        ValueError: If a branch or the fusion of these branches cannot be built.
        MissingWeightsError: If weights are asked for and cannot be had; it says how to pass a file.
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
    )


def build_network(config: "FitConfig", weight_files: Mapping[str, Path] | None = None) -> HybridNetwork:
    """Build the network that a run starts from, of torch's current seed or pretrained."""
    return network_of(config, pretrained=config.pretrained, weight_files=weight_files)


def build_head(kind: Head, width: int, classes: int) -> nn.Module:
    """Build the layers between the fused vector and the logits."""
    if kind == "published":
        return published_head(width, classes)
    if kind == "dense":
        return nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, classes))
    return nn.Linear(width, classes)


def published_head(width: int, classes: int) -> nn.Sequential:
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
