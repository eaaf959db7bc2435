"""Folds batch normalisation into the convolution before it: the same outputs with fewer passes over memory."""

from timm.layers.norm_act import BatchNormAct2d
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from core.nets.cnn import PlainCnn
from core.network import HybridNetwork

# In these families every normalisation follows, in the order of definition, the convolution it acts on. Not so in a
# DenseNet, which normalises what it has concatenated before it convolves.
_FOLDABLE = (EfficientNet, MobileNetV3, ResNet, VGG, PlainCnn)


def fold_batch_norms(network: HybridNetwork) -> HybridNetwork:
    """Fold, in place, every convolution of the known families with the normalisation behind it."""
    for branch in network.branches:
        if isinstance(branch.net, _FOLDABLE):
            for module in branch.net.modules():
                _fold_children(module)
    return network


def _fold_children(module: nn.Module) -> None:
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if before is not None and isinstance(child, nn.BatchNorm2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, _what_remains(child))
        before = (name, child) if isinstance(child, nn.Conv2d) else None


def _what_remains(norm: nn.BatchNorm2d) -> nn.Module:
    return nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
