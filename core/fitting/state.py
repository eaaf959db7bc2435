"""Where a run stands, on disk: written whole after every epoch, so that a killed run goes on from the last one.

The folder holds `state.pt` (what this phase changes, the optimiser, the history), `phase-N.pt` (all weights as phase
N began) and, where the best epoch is kept, `best-N.pt` (what epoch N had changed). Each is written under
another name, brought to the disk and renamed; what a newer one replaces is removed only after that.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from core.data.datasets import LabelledImage
from core.fitting.config import FitConfig
from core.fitting.distributed import rank
from core.fitting.history import Epoch

Weights = Mapping[str, Tensor]  # by name, as in a state_dict
Values = Mapping[str, object]  # a state_dict that is not only weights


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Tells one run from another: its numbers, and its images in their order."""

    config: str
    images: str

    @classmethod
    def of(
        cls,
        config: FitConfig,
        train: Sequence[LabelledImage],
        validation: Sequence[LabelledImage],
        targets: Sequence[Path],
    ) -> "Fingerprint":
        """Take the fingerprint of a run; a folder of images may have moved meanwhile."""
        listed = [
            [(image.path.name, image.label, image.patient_id, image.magnification) for image in images]
            for images in (train, validation)
        ]
        return cls(_sha256(repr(config)), _sha256(repr((listed, [path.name for path in targets]))))


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What an unfinished run has to remember beside the weights that its phase began with."""

    phase: int  # from 1
    steps: int  # of the optimiser, over the run
    epochs: tuple[Epoch, ...]
    network: Weights
    averaged: Weights  # empty where nothing is averaged
    domain: Weights  # empty without a domain head
    optimiser: Values
    scaler: Values


@dataclass(frozen=True, slots=True)
class Kept:
    """The best epoch so far and its phase, by number; 0 while there is none."""

    epoch: int = 0
    phase: int = 0


@dataclass(slots=True)
class StateFolder:
    """The folder of one run; without one, the best epoch is remembered and nothing can be resumed."""

    folder: Path | None
    fingerprint: Fingerprint
    _remembered: dict[str, Weights] = field(default_factory=dict)

    def load(self) -> State | None:
        """Give the state of the last finished epoch, if there is one.

        Raises:
            ValueError: If it is the state of another run.
        """
        if self.folder is None or not (path := self.folder / "state.pt").exists():
            return None
        found = torch.load(path, map_location="cpu", weights_only=True)
        for what, ours in asdict(self.fingerprint).items():
            if found[what] != ours:
                raise ValueError(
                    f"{path} is the state of another run: not the same {what}. "
                    "Go on with what it was started with, or choose an empty folder"
                )
        epochs = tuple(Epoch(**epoch) for epoch in found["epochs"])
        weights = (found["network"], found["averaged"], found["domain"])
        return State(found["phase"], found["steps"], epochs, *weights, found["optimiser"], found["scaler"])

    def save(self, state: State, best: Kept) -> None:
        """Write the state of a finished epoch, then remove what neither it nor the best epoch needs."""
        if self.folder is not None:
            values = {name: getattr(state, name) for name in State.__slots__}
            epochs = [asdict(epoch) for epoch in state.epochs]
            if rank() == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                _write_whole(self.folder / "state.pt", {**values, "epochs": epochs, **asdict(self.fingerprint)})
        needed = {"state", f"phase-{state.phase}", f"phase-{best.phase}", f"best-{best.epoch}"}
        self._remove_all_but(needed)

    def save_phase(self, number: int, weights: Weights) -> None:
        """Write all weights of the network as a phase begins with them."""
        self._write(f"phase-{number}", weights)

    def load_phase(self, number: int) -> Weights:
        """Give the weights that a phase began with."""
        return self._read(f"phase-{number}")

    def save_best(self, epoch: int, changed: Weights) -> None:
        """Write what the best epoch so far has changed since its phase began."""
        self._write(f"best-{epoch}", changed)

    def load_best(self, best: Kept) -> Weights:
        """Give all weights of the best epoch."""
        return {**self.load_phase(best.phase), **self._read(f"best-{best.epoch}")}

    def _write(self, name: str, weights: Weights) -> None:
        if self.folder is None:
            self._remembered[name] = {key: tensor.detach().clone() for key, tensor in weights.items()}
        elif rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(self.folder / f"{name}.pt", weights)

    def _read(self, name: str) -> Weights:
        if self.folder is None:
            return self._remembered[name]
        found: Weights = torch.load(self.folder / f"{name}.pt", map_location="cpu", weights_only=True)
        return found

    def _remove_all_but(self, needed: Set[str]) -> None:
        for name in self._remembered.keys() - needed:
            del self._remembered[name]
        if self.folder is not None and rank() == 0:
            for path in self.folder.glob("*-*.pt"):
                if path.stem not in needed:
                    path.unlink()


def _write_whole(path: Path, values: Values) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(dict(values), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name has to reach the disk, too
    finally:
        os.close(folder)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
