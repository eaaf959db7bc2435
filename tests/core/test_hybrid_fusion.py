"""The fusions: against their definitions, with evidence in every branch, and refused where they make no sense."""

import pytest
import torch
from torch import Tensor

from core.card import Fusion
from core.network.hybrid import CompactBilinear, CrossAttention, HybridNetwork, build_fusion


def _vectors(*widths: int, tokens: int = 0) -> list[Tensor]:
    chance = torch.Generator().manual_seed(4)
    shape = (3, tokens) if tokens else (3,)
    return [torch.randn(*shape, width, generator=chance) for width in widths]


def _sketched_products(fusion: CompactBilinear, first: Tensor, second: Tensor) -> Tensor:
    """Add up every product of two channels at its place, as the count sketch of an outer product is defined."""
    sketch = torch.zeros(fusion.width, dtype=torch.float64)
    places = [fusion.get_buffer(f"places_{n}") for n in (0, 1)]
    signs = [fusion.get_buffer(f"signs_{n}") for n in (0, 1)]
    for i, a in enumerate(first.double() * signs[0]):
        for j, b in enumerate(second.double() * signs[1]):
            sketch[(places[0][i] + places[1][j]) % fusion.width] += a * b
    return sketch


def _rooted(sketch: Tensor) -> Tensor:
    root = sketch.sign() * sketch.abs().sqrt()
    unit: Tensor = root / root.norm()
    return unit.float()


def test_concatenation_puts_branches_side_by_side() -> None:
    first, second = _vectors(5, 7)
    fused = build_fusion("concatenation", (5, 7))([first, second])
    torch.testing.assert_close(fused, torch.cat([first, second], dim=1), rtol=0, atol=0)


def test_two_branches_are_multiplied_channel_by_channel() -> None:
    fusion = CompactBilinear((6, 9))
    first, second = _vectors(6, 9)
    expected = torch.stack([_rooted(_sketched_products(fusion, a, b)) for a, b in zip(first, second, strict=True)])
    torch.testing.assert_close(fusion([first, second]), expected, rtol=1e-3, atol=1e-3)


def test_one_branch_is_multiplied_with_itself_at_every_position() -> None:
    fusion = CompactBilinear((6,))
    (maps,) = _vectors(6, tokens=4)
    assert fusion.wants_tokens
    for image, fused in zip(maps, fusion([maps]), strict=True):
        summed = torch.stack([_sketched_products(fusion, token, token) for token in image]).sum(dim=0)
        torch.testing.assert_close(fused, _rooted(summed), rtol=1e-3, atol=1e-3)


def test_a_channel_without_signal_has_a_finite_gradient() -> None:
    silent = torch.zeros(2, 6, requires_grad=True)
    fusion = CompactBilinear((6, 6))
    (gradient,) = torch.autograd.grad(fusion([silent, torch.ones(2, 6)]).sum(), silent)
    assert gradient.isfinite().all()


def test_two_sketches_have_the_same_places() -> None:
    first, second = CompactBilinear((6, 9)).state_dict(), CompactBilinear((6, 9)).state_dict()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)


def test_each_branch_looks_at_the_others_whatever_their_order() -> None:
    torch.manual_seed(0)
    fusion = CrossAttention((6, 9)).eval()
    first, second = _vectors(6, 9, tokens=5)
    fused = fusion([first, second])
    assert fused.shape == (3, fusion.width)
    moved = second[:, torch.randperm(5, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(fusion([first, moved]), fused, rtol=1e-4, atol=1e-5)
    half = fusion.width // 2
    other = fusion([first, 1 - second])
    assert (other[:, :half] - fused[:, :half]).abs().max() > 1e-3


def test_one_branch_has_no_other_to_look_at() -> None:
    with pytest.raises(ValueError, match="two branches or more"):
        HybridNetwork(("cnn3",), "linear", 2, fusion="cross_attention")


@pytest.mark.parametrize("fusion", ["cross_attention", "compact_bilinear"])
@pytest.mark.parametrize("branches", [("test_efficientnet", "test_vit"), ("cnn3", "test_vit", "test_resnet")])
def test_every_branch_leaves_evidence_through_a_fusion(fusion: Fusion, branches: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    network = HybridNetwork(branches, "linear", 2, fusion=fusion, input_side=64).eval()
    leaves = [f.detach().requires_grad_() for f in network.features(torch.rand(2, 3, 64, 64))]
    gradients = torch.autograd.grad(network.logits(leaves)[:, 1].sum(), leaves)
    for part in network.evidence(leaves, gradients):
        assert part.ndim == 3
        assert part.isfinite().all()
        assert part.abs().max() > 0
