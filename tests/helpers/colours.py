"""How well colours can be told apart, as WCAG 2 measures it."""

from collections.abc import Sequence


def contrast(one: str | Sequence[float], other: str | Sequence[float]) -> float:
    """Return the contrast, from 1 to 21, of two colours: each `#rrggbb`, or three channels from 0 to 255."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str | Sequence[float]) -> float:
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if isinstance(colour, str) else colour
    parts = [channel / 255 for channel in channels]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
