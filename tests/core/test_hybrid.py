"""The networks: published layers, exact decomposition of the additive head, and errors that help."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.card import Fusion, Head, InputPolicy, Magnification
from core.fitting.build import build_network
from core.fitting.config import FitConfig, Phase
from core.network.branches import MissingWeightsError
from core.network.hybrid import MAGNIFICATION_WIDTH, PUBLISHED_BRANCHES, CompactBilinear, HybridNetwork

TINY = ("test_efficientnet", "test_vit")
TINY_SIDE = 160


def _network(
    head: Head,
    branches: tuple[str, ...] = TINY,
    classes: int = 2,
    *,
    fusion: Fusion = "concatenation",
    magnification: Magnification = "ignored",
) -> HybridNetwork:
    torch.manual_seed(1)
    network = HybridNetwork(branches, head, classes, fusion=fusion, magnification=magnification, input_side=TINY_SIDE)
    return network.eval()


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
@pytest.mark.parametrize("branches", [TINY, TINY[:1], TINY[1:], (*TINY, "test_resnet"), ("cnn3", "test_resnet")])
def test_the_mean_of_the_map_plus_the_bias_is_the_logit_under_the_additive_head(
    branches: tuple[str, ...], target: int
) -> None:
    network = _network("additive", branches)
    mean, logit = _mean_evidence(network, _images(), target)
    assert isinstance(network.head, nn.Linear)
    torch.testing.assert_close(mean + network.head.bias[target], logit, rtol=1e-4, atol=1e-5)


def test_a_magnification_adds_its_own_share_to_the_logit_under_the_additive_head() -> None:
    network = _network("additive", magnification="input")
    mean, unknown = _mean_evidence(network, _images(), 1)
    assert isinstance(network.head, nn.Linear)
    with torch.no_grad():
        shares = network.magnification_embedding.weight @ network.head.weight[1, -MAGNIFICATION_WIDTH:]
        known = network(_images(), torch.tensor([0, 3]))[:, 1]
    bias = network.head.bias[1]
    torch.testing.assert_close(mean + bias + shares[4], unknown, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mean + bias + shares[[0, 3]], known, rtol=1e-4, atol=1e-5)


def test_a_network_that_ignores_the_magnification_answers_alike_at_every_one() -> None:
    network = _network("linear", magnification="ignored")
    with torch.no_grad():
        torch.testing.assert_close(network(_images(), torch.tensor([0, 3])), network(_images()), rtol=0, atol=0)
        assert network.auxiliary(network.pooled(network.features(_images()))) is None


def test_an_auxiliary_magnification_is_answered_from_the_same_vector_as_the_classes() -> None:
    network = _network("published", magnification="auxiliary")
    pooled = network.pooled(network.features(_images()))
    answer = network.auxiliary(pooled)
    assert answer is not None
    assert answer.shape == (2, 4)
    before = network.logits_of(pooled).detach()
    with torch.no_grad():
        network.magnification_head.weight.zero_()
    torch.testing.assert_close(network.logits_of(pooled), before, rtol=0, atol=0)


@pytest.mark.parametrize("head", ["published", "additive", "linear", "dense"])
@pytest.mark.parametrize("magnification", ["ignored", "input", "auxiliary"])
@pytest.mark.parametrize("fusion", ["concatenation", "cross_attention", "compact_bilinear"])
def test_logits_are_those_of_the_pooled_features(head: Head, magnification: Magnification, fusion: Fusion) -> None:
    network = _network(head, classes=8, fusion=fusion, magnification=magnification)
    magnifications = torch.tensor([1, 4])
    with torch.no_grad():
        whole = network(_images(), magnifications)
        in_steps = network.logits_of(network.pooled(network.features(_images())), magnifications)
    assert whole.shape == (2, 8)
    assert whole.isfinite().all()
    torch.testing.assert_close(whole, in_steps, rtol=0, atol=0)


def test_the_linear_head_sees_what_each_classifier_of_the_branches_would_see() -> None:
    network = _network("linear")
    with torch.no_grad():
        pooled = network.pooled(network.features(_images()))
        for name, branch, seen in zip(TINY, network.branches, pooled, strict=True):
            peer = timm.create_model(name, num_classes=0).eval()  # both were made for images of 160 px
            peer.load_state_dict(branch.net.state_dict())  # type: ignore[union-attr]
            torch.testing.assert_close(peer(_images()), seen, rtol=1e-4, atol=1e-5)
    assert isinstance(network.head, nn.Linear)


def test_the_dense_head_is_that_of_the_keras_rows() -> None:
    network = _network("dense", ("cnn3",))
    layers = [
        (type(part).__name__, getattr(part, "out_features", getattr(part, "p", None)))
        for part in network.head.children()
    ]
    assert layers == [("Linear", 256), ("ReLU", None), ("Dropout", 0.5), ("Linear", 2)]


def test_all_that_is_not_a_branch_belongs_to_the_head() -> None:
    network = _network("linear", fusion="cross_attention", magnification="input")
    parts = (network.fusion, network.head, network.magnification_embedding)
    expected = {id(weight) for part in parts for weight in part.parameters()}
    assert {id(weight) for weight in network.head_parameters()} == expected
    assert len(expected) + sum(1 for _ in network.branches.parameters()) == sum(1 for _ in network.parameters())


def test_the_weights_keep_the_names_that_stored_checkpoints_have() -> None:
    names = list(_network("additive").state_dict())
    assert {name.split(".")[0] for name in names} == {"branches", "head"}
    assert {name for name in names if name.startswith("head")} == {"head.weight", "head.bias"}
    assert {".".join(name.split(".")[:3]) for name in names if name.startswith("branches")} == {
        "branches.0.net",
        "branches.1.net",
    }


def test_a_run_starts_from_the_network_that_its_file_names() -> None:
    phase = Phase("all", 1, "all", 1e-3)
    policy = InputPolicy("resize", input_side=64)
    grey = (0.5, 0.5, 0.5)
    config = FitConfig("tiny", ("cnn3", "test_vit"), "dense", policy, grey, grey, (phase,), task="bach")
    network = build_network(replace(config, fusion="compact_bilinear", magnification="auxiliary"))
    assert network(_images(side=64)).shape == (2, 4)
    assert isinstance(network.fusion, CompactBilinear)
    assert network.magnification_head.out_features == 4


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
