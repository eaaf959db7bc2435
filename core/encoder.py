"""How a vision transformer of others differs from timm's network of that name, and how its tokens become one vector."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

Pooling = Literal["class", "mean", "class_mean"]

# Enough for the largest published encoders (ViT-G/14 has a width of 1,664 and 48 blocks), and too little to fill the
# memory of a worker: a card is read from a file that anyone may have made.
_BOUNDS: dict[str, tuple[float, float]] = {
    "patch_size": (2, 64),
    "embed_dim": (8, 2048),
    "depth": (1, 64),
    "num_heads": (1, 64),
    "mlp_ratio": (0.25, 8),
    "init_values": (0, 10),
    "reg_tokens": (0, 32),
}


@dataclass(frozen=True, slots=True)
class Encoder:
    """The arguments of the architecture, named as in timm; None leaves timm's own value.

    `pooling` is the vector that the head sees: the class token, the mean of the patch tokens, or both joined.
    `swiglu` stands for timm's SwiGLUPacked with SiLU in place of its usual layers.
    """

    pooling: Pooling = "class"
    patch_size: int | None = None  # px of the network's input
    embed_dim: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    mlp_ratio: float | None = None
    init_values: float | None = None  # of the layer scale
    reg_tokens: int | None = None
    no_embed_class: bool | None = None  # the position embedding has no places for class and register tokens
    dynamic_img_size: bool | None = None
    swiglu: bool = False

    def bounded_numbers(self) -> Iterator[tuple[str, float, float, float]]:
        """Yield every number that is set, with its name, its lower and its upper bound."""
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None:
                yield f"encoder.{name}", value, low, high

    def timm_arguments(self) -> dict[str, int | float | bool]:
        """Return what is set, as timm's arguments; `pooling` and `swiglu` are not among them."""
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in given if name not in ("pooling", "swiglu") and value is not None}
