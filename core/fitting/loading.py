"""Prepare patches for the network: made ahead in threads, standardised, and moved to its device."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from core.fitting.config import FitConfig
from core.results import Patches

Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST_THREADS = 8


def make_ahead(make: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the result of `make` for every item, in order, computing a few ahead in threads."""
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(make, item))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def standardise(patches: Patches, config: FitConfig, device: torch.device) -> Tensor:
    """Return patches x 3 x side x side, standardised by the mean and standard deviation of the run, on the device."""
    mean, std = (torch.tensor(triple, device=device).view(3, 1, 1) for triple in (config.mean, config.std))
    batch = (torch.from_numpy(patches).to(device).permute(0, 3, 1, 2).float() / 255 - mean) / std
    return batch.contiguous(memory_format=torch.channels_last)


def autocast(config: FitConfig, device: torch.device) -> torch.autocast:
    """Return a context that computes in the training precision of a run."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.optimiser.precision)
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)
