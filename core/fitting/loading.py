"""Patches on their way to the network: made ahead of time in threads, standardised, on its device."""

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
Made = TypeVar("Made")
_MOST_THREADS = 8


def made_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Make something of every item, in order, a few ahead of whoever takes them."""
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def standardised(patches: Patches, config: FitConfig, device: torch.device) -> Tensor:
    """Give patches x 3 x side x side with the mean and standard deviation of the run, on its device."""
    mean, std = (torch.tensor(triple, device=device).view(3, 1, 1) for triple in (config.mean, config.std))
    batch = (torch.from_numpy(patches).to(device).permute(0, 3, 1, 2).float() / 255 - mean) / std
    return batch.contiguous(memory_format=torch.channels_last)


def autocast(config: FitConfig, device: torch.device) -> torch.autocast:
    """Compute in the precision that a run is trained in."""
    short = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.optimiser.precision)
    return torch.autocast(device.type, short or torch.bfloat16, enabled=short is not None)
