"""Where and how a network computes: the choice for a checkpoint, and what happens when a GPU runs out of memory."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy

import torch
from torch import Tensor

from core.computing import EXACT, Backend, Computing, WantedComputing
from core.network.backends import (
    TorchBackend,
    UnusableBackendError,
    build_backend,
    find_problem,
    library_of,
    precision_of,
    processor_of,
)
from core.network.hybrid import HybridNetwork
from core.precision import CheckedWay, find_objection

# Views of patches in one forward pass; larger batches cost memory and are no faster on a CPU.
_CPU_BATCH = 16
_GPU_BATCH = 256

_CPU = torch.device("cpu")

NO_ROOM = "the GPU ran out of memory: the CPU is used until the next restart"


class Computer:
    """A network on its device, which all classifiers of it share; it changes only when memory does not suffice."""

    def __init__(self, network: HybridNetwork, backend: Backend, side: int, device: torch.device) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device
        self._limit: int | None = None  # views that fit into memory, as far as that is known
        self._objection: str | None = None  # to what is configured
        self._shortage: str | None = None  # of memory
        self._backend_name = backend
        self._backend = build_backend(backend, self.network, side, device)
        self._side = side
        self._tell: Callable[[Computing], None] = lambda _: None
        self._left_gpu = False
        self._changing = threading.Lock()

    @property
    def state(self) -> Computing:
        """How the network computes at the moment."""
        cautions = [words for words in (self._objection, self._shortage) if words]
        return Computing(self._backend_name, self.device.type, "; ".join(cautions) or None)

    def views_at_once(self, wanted: int | None) -> int:
        """Return how many views of patches go through the network at once: as many as are wanted, if they fit."""
        views = wanted or (_CPU_BATCH if self.device.type == "cpu" else _GPU_BATCH)
        return views if self._limit is None else min(views, self._limit)

    def tell_changes(self, tell: Callable[[Computing], None]) -> None:
        """Call this whenever the network computes in another way than before."""
        self._tell = tell

    def features_and_places(self, images: Tensor, described: int) -> tuple[list[Tensor], Tensor]:
        """Return what the network's method of the same name returns."""
        return self._backend.features_and_places(images, described)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which torch computes."""
        precision = precision_of(self._backend_name)
        return torch.autocast(self.device.type, precision or torch.bfloat16, enabled=precision is not None)

    def computed_by(self, backend: Backend) -> "Computer":
        """Return a computer with the same network that computes in another way.

        Raises:
            UnusableBackendError: If this machine cannot.
        """
        other = copy(self)
        other.use(backend)
        return other

    def use(self, backend: Backend) -> None:
        """Compute in another way from now on; only while nobody else uses this network.

        Raises:
            UnusableBackendError: If this machine cannot.
        """
        self._backend = build_backend(backend, self.network, self._side, self.device)
        self._backend_name = backend

    def choose(self, wanted: WantedComputing, checkpoint_sha256: str, of_card: Backend) -> None:
        """Compute as configured if that was checked for this checkpoint on this machine; else exactly."""
        backend = of_card if wanted.backend == "card" else wanted.backend
        objection = None
        if backend not in (EXACT, of_card):
            way = self._way(backend, checkpoint_sha256)
            objection = find_problem(backend, self.device) or find_objection(way, wanted.records)
        try:
            self.use(EXACT if objection else backend)
        except UnusableBackendError as error:
            objection = str(error)
            self.use(EXACT)
        self._objection = f"{EXACT} is used instead: {objection}" if objection else None

    def way(self, checkpoint_sha256: str) -> CheckedWay:
        """Return how this computer computes, as it is checked for a checkpoint."""
        return self._way(self._backend_name, checkpoint_sha256)

    def _way(self, backend: Backend, checkpoint_sha256: str) -> CheckedWay:
        return CheckedWay(checkpoint_sha256, backend, library_of(backend), processor_of(self.device))

    def make_room(self, views: int, fewest: int) -> bool:
        """Let fewer views go through the network at once than did not fit, at last on the CPU.

        Return False if that was tried already.
        """
        with self._changing:
            if views > fewest:
                self._limit = max(fewest, views // 2)
                words = f"the GPU ran out of memory: the network now takes {self._limit} views at a time"
            elif not self._left_gpu:
                self._leave_gpu()
                words = NO_ROOM
            else:
                return False
            self._shortage = words
        self._tell(self.state)
        return True

    def note_shortage(self, words: str) -> None:
        """Remember in words that memory did not suffice while the network was loaded."""
        self._shortage = words

    def _leave_gpu(self) -> None:
        self._left_gpu = True
        self.network = self.network.to(_CPU)
        self.device, self._limit = _CPU, None
        self._backend, self._backend_name = TorchBackend(self.network), EXACT
        torch.cuda.empty_cache()
