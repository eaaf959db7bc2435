"""Computes the features of a network, which is nearly all of the work, by torch or by OpenVINO in several precisions.

What follows the features stays in torch: pooling, head, and the gradients of the head with respect to the features. So
heat maps, embeddings and the description for the scope are made in the same way whoever computes the features.
"""

import importlib.util
import os
import sys
import threading
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from core.card import Card
from core.computing import EXACT, Backend
from core.network.hybrid import HybridNetwork, describe_places

_PRECISIONS: dict[Backend, torch.dtype | None] = {
    "torch-fp32": None,
    "torch-bf16": torch.bfloat16,
    "torch-fp16": torch.float16,
    "openvino-fp32": None,
    "openvino-bf16": torch.bfloat16,
}
_OPENVINO = "openvino"
_LATENCY = "LATENCY"  # all threads work on one batch
# Instructions for matrices; with others, a library computes in another way.
_INSTRUCTIONS = frozenset(
    ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")
)


class UnusableBackendError(Exception):
    """A backend that this machine cannot use; the message says why."""


class FeatureBackend(Protocol):
    """Computes the features of a network; safe to share between threads."""

    def features_and_places(self, images: Tensor, described: int) -> tuple[list[Tensor], Tensor]:
        """Return what the method of the network of the same name returns, from images x 3 x side x side."""


class TorchBackend:
    """The network itself."""

    def __init__(self, network: HybridNetwork) -> None:
        self._network = network

    def features_and_places(self, images: Tensor, described: int) -> tuple[list[Tensor], Tensor]:
        """Return the features in the precision of the caller's autocast."""
        return self._network.features_and_places(images.contiguous(memory_format=torch.channels_last), described)


class OpenVinoBackend:
    """The branches of a network, compiled by OpenVINO for this processor."""

    def __init__(self, network: HybridNetwork, side: int, precision: str) -> None:
        if importlib.util.find_spec(_OPENVINO) is None:
            raise UnusableBackendError("OpenVINO is not installed: pip install -r requirements-openvino.txt")
        # Importing OpenVINO would tell its makers over the internet; without this package it cannot.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino  # noqa: PLC0415 - an optional package

        with torch.no_grad(), warnings.catch_warnings():
            # It traces with a function that torch will drop, and shapes become constants, which only the batch is not.
            warnings.simplefilter("ignore")
            model = openvino.convert_model(_Features(network), example_input=torch.zeros(2, 3, side, side))
        model.reshape([-1, 3, side, side])
        self._compiled = openvino.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": _LATENCY,
            },
        )
        self._branches = len(network.branches)
        self._own = threading.local()

    def features_and_places(self, images: Tensor, described: int) -> tuple[list[Tensor], Tensor]:
        """Return the features in single precision, whatever precision they were computed in."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        # Its memory is read before the same thread computes again, so nothing is copied.
        found = self._own.request.infer([np.ascontiguousarray(images.numpy())], share_inputs=True, share_outputs=True)
        maps = [torch.from_numpy(found[place]) for place in range(len(self._compiled.outputs))]
        return maps[: self._branches], describe_places(maps[self._branches :], described)


class _Features(nn.Module):
    """The features and layers of a network in one tuple, as OpenVINO converts it."""

    def __init__(self, network: HybridNetwork) -> None:
        super().__init__()
        self._network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features of all branches, then the layers of all branches."""
        features, layers = self._network.features_and_layers(images)
        return (*features, *layers)


def build_backend(backend: Backend, network: HybridNetwork, side: int, device: torch.device) -> FeatureBackend:
    """Build what computes the features of a network that is on this device.

    Raises:
        UnusableBackendError: If this machine cannot; the message says why.
    """
    if problem := find_problem(backend, device):
        raise UnusableBackendError(problem)
    if not backend.startswith(_OPENVINO):
        return TorchBackend(network)
    try:
        return OpenVinoBackend(network, side, "f32" if precision_of(backend) is None else "bf16")
    except RuntimeError as error:
        raise UnusableBackendError(f"OpenVINO cannot compile this network: {error}") from error


def find_problem(backend: Backend, device: torch.device) -> str | None:
    """Return why a device cannot compute in this way, as far as that is known without trying; None if it can."""
    if backend.startswith(_OPENVINO) and device.type != "cpu":
        return f"{backend} runs on the CPU only, not on {device}"
    if backend == "torch-fp16" and device.type != "cuda":
        return f"{backend} needs a GPU"
    if precision_of(backend) is torch.bfloat16 and not supports_bf16(device):
        return f"{backend} needs a device that multiplies bfloat16"
    return None


def precision_of(backend: Backend) -> torch.dtype | None:
    """Return in what to compute where that is possible; None for single precision throughout."""
    return _PRECISIONS[backend]


def backend_of_card(card: Card, device: torch.device) -> Backend:
    """Return torch in the precision of a card, as far as the device has it."""
    return "torch-bf16" if card.precision == "bf16" and supports_bf16(device) else EXACT


def library_of(backend: Backend) -> str:
    """Return the library that computes, with its version; torch computes the head in any case."""
    libraries = ["torch", *([_OPENVINO] if backend.startswith(_OPENVINO) else [])]
    with suppress(ModuleNotFoundError):
        return ", ".join(f"{name} {version(name)}" for name in libraries)
    return f"{_OPENVINO}, which is not installed"


def processor_of(device: torch.device) -> str:
    """Return what computes, as far as results depend on it."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    known = sorted(_INSTRUCTIONS & set(said.get("flags", "").split()))
    return f"{said.get('model name', os.uname().machine)}: {' '.join(known)}"


def supports_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware; on a CPU without it, it would only be slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16", False) or known.get("amx_bf16", False))
