"""The small networks of the baseline: their layers, and that timm gives them by name."""

import pytest
import timm
import torch
from torch import nn

from core.network.branches import PlainCnn


def _net(name: str) -> PlainCnn:
    net = timm.create_model(name)
    assert isinstance(net, PlainCnn)
    return net


@pytest.mark.parametrize(("name", "convolutions"), [("cnn3", 3), ("cnn4", 4)])
def test_every_convolution_is_normalised_and_halved(name: str, convolutions: int) -> None:
    net = _net(name)
    kinds = [type(layer) for layer in net.features]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d] * convolutions
    features = net.forward_features(torch.rand(2, 3, 48, 48))
    assert features.shape == (2, net.num_features, 48 >> convolutions, 48 >> convolutions)
    assert net.num_features == 16 << convolutions


def test_whole_channels_are_dropped_in_training_and_none_in_use() -> None:
    torch.manual_seed(0)
    net = _net("cnn3")
    dropped = (net.train().forward_features(torch.rand(8, 3, 32, 32)) == 0).all(dim=(2, 3)).float().mean()
    assert 0.15 < dropped < 0.5
    alike = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(net.eval()(alike), net(alike), rtol=0, atol=0)


def test_its_averages_are_those_of_its_map() -> None:
    net = _net("cnn4").eval()
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(net(images), net.forward_features(images).mean(dim=(2, 3)))


def test_it_has_no_classes_of_its_own() -> None:
    with pytest.raises(ValueError, match="the head of the hybrid"):
        timm.create_model("cnn3", num_classes=2)
