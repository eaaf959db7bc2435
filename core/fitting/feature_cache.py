"""Features of frozen branches for a fixed list of patches: computed once, in memory or mapped from a file."""

import fcntl
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.fitting import distributed
from core.fitting.config import FitConfig
from core.fitting.loading import autocast, make_ahead, standardise
from core.fitting.sampling import Places
from core.network.hybrid import HybridNetwork
from core.results import Patches, RgbImage

_AT_ONCE = 32  # patches in one forward pass


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The pooled features of patches: one row each, the branches side by side."""

    rows: NDArray[np.float32]
    shapes: tuple[tuple[int, ...], ...]  # of one patch, by branch
    device: torch.device

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Places) -> list[Tensor]:
        """Return the features of the patches at `places` by branch, as `HybridNetwork.pooled` does."""
        rows = torch.from_numpy(self.rows[places]).to(self.device)
        parts = rows.split([math.prod(shape) for shape in self.shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]


@dataclass(frozen=True, slots=True)
class PatchList:
    """A fixed list of patches: their number, how each is made, and a name that changes when any of them does."""

    count: int
    make: Callable[[int], RgbImage]
    name: str


def compute_features(
    network: HybridNetwork, patches: PatchList, config: FitConfig, folder: Path | None, device: torch.device
) -> Features:
    """Return the features of a list of patches, computed or read from an earlier run.

    The branches run in eval mode and stay in it. In a folder, the file name is a hash of the weights, the patches and
    the precision; a file gets this name only when it is complete, so a killed run leaves no file that could be mistaken
    for it. Several processes share the work; without a folder to share, each computes all features.
    """
    branches = _FrozenBranches(network, config, device)
    size = (patches.count, sum(math.prod(shape) for shape in branches.shapes))
    if folder is None:
        rows = np.empty(size, np.float32)
        branches.fill(rows, patches, range(0, patches.count, _AT_ONCE))
        return Features(rows, branches.shapes, device)
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"features-{branches.hash_with(patches)}.f32"
    with _lock(final.with_suffix(".lock")):
        if not final.exists():
            _fill_file(final, size, branches, patches)
    return Features(np.asarray(np.memmap(final, np.float32, "r", shape=size)), branches.shapes, device)


class _FrozenBranches:
    """The part of a network whose output is cached."""

    def __init__(self, network: HybridNetwork, config: FitConfig, device: torch.device) -> None:
        self._network = network.eval()
        self._config = config
        self._device = device
        side = config.input_policy.input_side
        self.shapes = tuple(tuple(part.shape[1:]) for part in self._pooled(np.zeros((1, side, side, 3), np.uint8)))

    def fill(self, rows: NDArray[np.float32], patches: PatchList, starts: Sequence[int]) -> None:
        """Compute the rows of the batches that begin at `starts`."""

        def make(start: int) -> Patches:
            return np.stack([patches.make(row) for row in range(start, min(start + _AT_ONCE, patches.count))])

        for start, batch in zip(starts, make_ahead(make, starts), strict=True):
            pooled = torch.cat([part.flatten(1).float() for part in self._pooled(batch)], dim=1)
            rows[start : start + len(batch)] = pooled.cpu().numpy()

    def hash_with(self, patches: PatchList) -> str:
        """Return a hash that identifies the features of these branches for these patches."""
        digest = hashlib.sha256(patches.name.encode())
        config = self._config
        digest.update(repr((config.branches, config.head, config.fusion, config.mean, config.std)).encode())
        digest.update(repr((config.optimiser.precision, self.shapes, patches.count)).encode())
        for name, tensor in self._network.branches.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]

    def _pooled(self, patches: Patches) -> list[Tensor]:
        with torch.no_grad(), autocast(self._config, self._device):
            images = standardise(patches, self._config, self._device)
            return self._network.pooled(self._network.features(images))


def _fill_file(final: Path, size: tuple[int, int], branches: _FrozenBranches, patches: PatchList) -> None:
    partial = final.with_suffix(".partial")
    if distributed.rank() == 0:
        np.memmap(partial, np.float32, "w+", shape=size).flush()
    distributed.wait()
    rows = np.memmap(partial, np.float32, "r+", shape=size)
    branches.fill(rows, patches, range(0, size[0], _AT_ONCE)[distributed.rank() :: distributed.world_size()])
    rows.flush()
    distributed.wait()
    if distributed.rank() == 0:
        partial.replace(final)
    distributed.wait()


@contextmanager
def _lock(guard: Path) -> Iterator[None]:
    """Keep other runs from filling the same file; of several processes of one run, the first holds the lock."""
    with guard.open("wb") as file:
        if distributed.rank() == 0:
            fcntl.flock(file, fcntl.LOCK_EX)  # the kernel releases it when the process dies
        distributed.wait()
        yield
