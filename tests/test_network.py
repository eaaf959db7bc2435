"""The networks: published layers, exact decomposition of the additive head, and errors that help."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.folding import fold_batch_norms
from core.network import PUBLISHED_BRANCHES, Head, HybridNetwork, MissingWeightsError

TINY = ("test_efficientnet", "test_vit")
TINY_SIDE = 160


def _network(head: Head, branches: tuple[str, ...] = TINY, classes: int = 2) -> HybridNetwork:
    torch.manual_seed(1)
    return HybridNetwork(branches, head, classes, input_side=TINY_SIDE).eval()


def _images(count: int = 2, side: int = TINY_SIDE) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(2))


def _mean_evidence(network: HybridNetwork, images: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Give the mean of the summed maps and the logit, one of each an image."""
    with torch.no_grad():
        features = [f.detach() for f in network.features(images)]
    leaves = [f.requires_grad_() for f in features]
    logits = network.logits(leaves)
    gradients = torch.autograd.grad(logits[:, target].sum(), leaves)
    maps = network.evidence(leaves, gradients)
    return sum((m.mean(dim=(1, 2)) for m in maps), torch.zeros(len(images))), logits[:, target].detach()


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("branches", [TINY, TINY[:1], TINY[1:], (*TINY, "test_resnet")])
def test_the_mean_of_the_map_plus_the_bias_is_the_logit_under_the_additive_head(
    branches: tuple[str, ...], target: int
) -> None:
    network = _network("additive", branches)
    mean, logit = _mean_evidence(network, _images(), target)
    assert isinstance(network.head, nn.Linear)
    torch.testing.assert_close(mean + network.head.bias[target], logit, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_decomposition_holds_on_the_full_size_network() -> None:
    torch.manual_seed(3)
    network = HybridNetwork(PUBLISHED_BRANCHES, "additive", 2).eval()
    assert sum(p.numel() for p in network.parameters()) > 100_000_000
    mean, logit = _mean_evidence(network, _images(1, 224), 1)
    assert isinstance(network.head, nn.Linear)
    torch.testing.assert_close(mean + network.head.bias[1], logit, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_published_hybrid_has_the_published_layers() -> None:
    with torch.device("meta"):
        network = HybridNetwork(PUBLISHED_BRANCHES, "published", 2)
    layers = [
        (type(layer).__name__, getattr(layer, "out_features", None) or getattr(layer, "p", None))
        for layer in network.head.children()
    ]
    assert layers == [
        ("LayerNorm", None),
        ("Linear", 1024),
        ("GELU", None),
        ("LayerNorm", None),
        ("Dropout", 0.6),
        ("Linear", 1024),
        ("LayerNorm", None),
        ("Linear", 512),
        ("GELU", None),
        ("Dropout", 0.7),
        ("Linear", 2),
    ]
    assert [branch.width for branch in network.branches] == [1280, 768]


def test_the_class_token_shortcut_gives_what_the_whole_last_block_gives() -> None:
    network = _network("published")
    branch = network.branches[1]
    net = branch.net
    assert isinstance(net, timm.models.VisionTransformer)
    with torch.no_grad():
        short = branch.pool(branch.features(_images()))  # type: ignore[operator]
        whole = net.forward_features(_images())[:, 0]
    torch.testing.assert_close(short, whole, rtol=1e-4, atol=1e-5)


def test_both_branches_of_the_published_head_leave_evidence() -> None:
    network = _network("published")
    leaves = [f.detach().requires_grad_() for f in network.features(_images())]
    gradients = torch.autograd.grad(network.logits(leaves)[:, 1].sum(), leaves)
    for part in network.evidence(leaves, gradients):
        assert part.abs().max() > 0


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "resnet18", "mobilenetv3_small_050"])
def test_folding_changes_no_output(name: str) -> None:
    network = _network("additive", (name,))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh statistics are 0 and 1, which would hide a mistake
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 2)
    with torch.no_grad():
        before = network(_images())
        after = fold_batch_norms(network)(_images())
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)
    # A stem of several convolutions keeps its last normalisation, which stands outside their container.
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) <= 1


def test_an_unknown_branch_is_refused_with_near_names() -> None:
    with pytest.raises(ValueError, match="resnet50"):
        HybridNetwork(("resnet_fifty",), "additive", 2)


def test_missing_pretrained_weights_say_how_to_pass_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    # What HF_HUB_OFFLINE=1 sets; without it the hub's client tries again for most of a minute.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingWeightsError, match=r"--weights test_resnet=FILE"):
        HybridNetwork(("test_resnet",), "additive", 2, pretrained=True)


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"gone\.safetensors"):
        HybridNetwork(("test_resnet",), "additive", 2, weight_files={"test_resnet": tmp_path / "gone.safetensors"})


def test_pretrained_weights_come_from_a_local_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    donor = timm.create_model("test_resnet")
    save_file(donor.state_dict(), tmp_path / "donor.safetensors")
    network = HybridNetwork(
        ("test_resnet",), "additive", 2, weight_files={"test_resnet": tmp_path / "donor.safetensors"}
    )
    taken = network.branches[0].net.state_dict()  # type: ignore[union-attr]
    torch.testing.assert_close(taken["layer1.0.conv1.weight"], donor.state_dict()["layer1.0.conv1.weight"])
