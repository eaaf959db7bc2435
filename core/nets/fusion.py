"""How branches become one vector: side by side, by looking at each other, or by products of their channels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.card import Fusion

_ATTENTION_WIDTH = 256
_ATTENTION_HEADS = 8
# Gao et al. find no gain above 8,000 and little loss at half of it.
_SKETCH_WIDTH = 4096
# Added below the square root, whose slope at zero would be infinite.
_SMALLEST = 1e-8


class Concatenation(nn.Module):
    """Puts one vector of each branch side by side."""

    wants_tokens = False

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.width = sum(widths)

    def forward(self, pooled: Sequence[Tensor]) -> Tensor:
        """Give images x width."""
        return torch.cat(list(pooled), dim=1)


class CrossAttention(nn.Module):
    """Lets the tokens of each branch look at those of all others, then averages and concatenates.

    The attention is that of Vaswani et al. (NeurIPS 2017), normalised before it, with the branch's own tokens added.
    """

    wants_tokens = True

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError("cross-attention needs two branches or more: each looks at the others")
        width = _ATTENTION_WIDTH
        self.width = width * len(widths)
        self.projections = nn.ModuleList(nn.Sequential(nn.Linear(w, width), nn.LayerNorm(width)) for w in widths)
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(width, _ATTENTION_HEADS, batch_first=True) for _ in widths
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in widths)

    def forward(self, pooled: Sequence[Tensor]) -> Tensor:
        """Give images x width from one images x tokens x channels of each branch."""
        tokens = [project(branch) for project, branch in zip(self.projections, pooled, strict=True)]
        seen = []
        for number, (attend, norm) in enumerate(zip(self.attentions, self.norms, strict=True)):
            others = torch.cat(tokens[:number] + tokens[number + 1 :], dim=1)
            attended, _ = attend(tokens[number], others, others, need_weights=False)
            seen.append(norm(tokens[number] + attended).mean(dim=1))
        return torch.cat(seen, dim=1)


class CompactBilinear(nn.Module):
    """Sketches the products of all channel pairs (Gao et al., "Compact Bilinear Pooling", CVPR 2016).

    The count sketch of an outer product is the circular convolution of its factors' count sketches (Pham and Pagh,
    KDD 2013), hence a product of Fourier transforms. One branch is multiplied with itself at every position and
    summed, as in the paper; of several, whose grids differ, the pooled vectors are multiplied (Fukui et al., EMNLP
    2016).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.wants_tokens = fuses_tokens("compact_bilinear", len(widths))
        self.width = _SKETCH_WIDTH
        factors = [*widths, *widths] if self.wants_tokens else list(widths)
        # Drawn once and kept with the weights: a network read with other places and signs would be another network.
        chance = torch.Generator().manual_seed(0)
        for number, channels in enumerate(factors):
            places = torch.randint(_SKETCH_WIDTH, (channels,), generator=chance, device="cpu")
            signs = torch.randint(2, (channels,), generator=chance, device="cpu").float() * 2 - 1
            self.register_buffer(f"places_{number}", places)
            self.register_buffer(f"signs_{number}", signs)

    def forward(self, pooled: Sequence[Tensor]) -> Tensor:
        """Give images x width, with signed square roots and unit length."""
        factors = [pooled[0], pooled[0]] if self.wants_tokens else list(pooled)
        products = self._spectrum(0, factors[0])
        for number, factor in enumerate(factors[1:], start=1):
            products = products * self._spectrum(number, factor)
        sketch = torch.fft.irfft(products.sum(dim=1) if self.wants_tokens else products, n=self.width)
        rooted = sketch.sign() * ((sketch.abs() + _SMALLEST).sqrt() - math.sqrt(_SMALLEST))
        return nn.functional.normalize(rooted, dim=1)

    def _spectrum(self, number: int, factor: Tensor) -> Tensor:
        """Give the Fourier transform of the count sketch over the last axis, in single precision."""
        places, signs = self.get_buffer(f"places_{number}"), self.get_buffer(f"signs_{number}")
        signed = factor.float() * signs
        sketch = signed.new_zeros(*factor.shape[:-1], self.width).index_add(-1, places, signed)
        spectrum: Tensor = torch.fft.rfft(sketch)
        return spectrum


FusionModule = Concatenation | CrossAttention | CompactBilinear


def fuses_tokens(kind: Fusion, branches: int) -> bool:
    """Say whether a fusion of so many branches takes all their tokens instead of one vector of each."""
    return kind == "cross_attention" or (kind == "compact_bilinear" and branches == 1)


def build_fusion(kind: Fusion, widths: Sequence[int]) -> FusionModule:
    """Build the fusion of branches with these numbers of channels.

    Raises:
        ValueError: If the branches are too few for it.
    """
    kinds: dict[Fusion, type[FusionModule]] = {
        "concatenation": Concatenation,
        "cross_attention": CrossAttention,
        "compact_bilinear": CompactBilinear,
    }
    return kinds[kind](widths)
