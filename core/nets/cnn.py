"""The small convolutional networks of the baseline, trained from scratch, under timm names: cnn3 and cnn4."""

from itertools import pairwise
from typing import cast

from timm.models import register_model
from torch import Tensor, nn

_FIRST_WIDTH = 32  # doubled by every further convolution
_DROPOUT = 0.25


class PlainCnn(nn.Module):
    """Convolutions of 3 x 3, each with batch normalisation, ReLU and halving, and dropout of whole channels at the end.

    It has the parts of a timm network that a branch takes, and no classifier of its own.
    """

    def __init__(self, convolutions: int) -> None:
        super().__init__()
        widths = [3, *(_FIRST_WIDTH << step for step in range(convolutions))]
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            # The normalisation's shift takes the place of the convolution's bias.
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.num_features = widths[-1]
        self.features = nn.Sequential(*layers)
        self.drop = nn.Dropout2d(_DROPOUT)

    def forward_features(self, images: Tensor) -> Tensor:
        """Give the last feature map, images x channels x rows x columns."""
        return cast(Tensor, self.drop(self.features(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Give the averages of the last feature map, images x channels."""
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
    """Build three convolutions."""
    return _from_scratch(3, pretrained, num_classes)


@register_model
def cnn4(
    pretrained: bool = False,
    pretrained_cfg: object = None,
    pretrained_cfg_overlay: object = None,
    cache_dir: object = None,
    num_classes: int = 0,
) -> PlainCnn:
    """Build four convolutions."""
    return _from_scratch(4, pretrained, num_classes)


def _from_scratch(convolutions: int, pretrained: bool, num_classes: int) -> PlainCnn:
    if pretrained:
        raise ValueError(f"cnn{convolutions} is trained from scratch: nobody publishes weights of it")
    if num_classes:
        raise ValueError(f"cnn{convolutions} ends in features; the head of the hybrid gives the classes")
    return PlainCnn(convolutions)
