"""How a network may compute: which library, which precision, which device; plain values without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Backend = Literal["torch-fp32", "torch-bf16", "torch-fp16", "openvino-fp32", "openvino-bf16"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
EXACT: Backend = "torch-fp32"  # what all others are compared with

# Beside the backends: torch in the precision of the card, which the run that trained the network has checked.
WantedBackend = Literal["card", "torch-fp32", "torch-bf16", "torch-fp16", "openvino-fp32", "openvino-bf16"]


@dataclass(frozen=True, slots=True)
class WantedComputing:
    """What is configured; `records` is the folder that says what may be used."""

    device: str
    backend: WantedBackend
    records: Path


@dataclass(frozen=True, slots=True)
class Computing:
    """How a network computes; `caution` says why, if that is not as configured."""

    backend: Backend
    device: str
    caution: str | None = None
