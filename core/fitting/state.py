"""The state of a run on disk, saved after every epoch so that a killed run can resume from the last one.

The folder contains `state.pt` (the weights that this phase changes, the optimiser, the history), `phase-N.pt` (all
weights at the start of phase N) and, if the best epoch is kept, `best-N.pt` (the weights that epoch N had changed).
Each file is written under another name, flushed to disk and renamed; files that it replaces are removed afterwards.
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
from core.run_history import Epoch

Weights = Mapping[str, Tensor]  # by name, as in a state_dict
Values = Mapping[str, object]  # a state_dict of more than weights


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Identifies a run by hashes of its configuration and of its images in their order."""

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
        """Return the fingerprint of a run; it does not depend on the folder of the images."""
        descriptions = [
            [(image.path.name, image.label, image.patient_id, image.magnification) for image in images]
            for images in (train, validation)
        ]
        return cls(_sha256(repr(config)), _sha256(repr((descriptions, [path.name for path in targets]))))


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The state of an unfinished run, except for the weights at the start of its phase."""

    phase: int  # from 1
    steps: int  # of the optimiser, over the run
    epochs: tuple[Epoch, ...]
    network: Weights
    averaged: Weights  # empty if nothing is averaged
    domain: Weights  # empty without a domain head
    optimiser: Values
    scaler: Values


@dataclass(frozen=True, slots=True)
class BestEpoch:
    """The numbers of the best epoch so far and of its phase; 0 if there is none."""

    epoch: int = 0
    phase: int = 0


@dataclass(slots=True)
class StateFolder:
    """The folder of one run; without a folder, the best epoch stays in memory and the run cannot be resumed."""

    folder: Path | None
    fingerprint: Fingerprint
    _in_memory: dict[str, Weights] = field(default_factory=dict)

    def load(self) -> State | None:
        """Return the state after the last finished epoch; None if there is none.

        Raises:
            ValueError: If the state belongs to another run.
        """
        if self.folder is None or not (path := self.folder / "state.pt").exists():
            return None
        stored = torch.load(path, map_location="cpu", weights_only=True)
        for part, own in asdict(self.fingerprint).items():
            if stored[part] != own:
                raise ValueError(
                    f"{path} is the state of another run: not the same {part}. "
                    "Resume it with the configuration and images it was started with, or choose an empty folder"
                )
        epochs = tuple(Epoch(**epoch) for epoch in stored["epochs"])
        weights = (stored["network"], stored["averaged"], stored["domain"])
        return State(stored["phase"], stored["steps"], epochs, *weights, stored["optimiser"], stored["scaler"])

    def save(self, state: State, best: BestEpoch) -> None:
        """Write the state after an epoch, then remove files that neither it nor the best epoch needs."""
        if self.folder is not None:
            values = {name: getattr(state, name) for name in State.__slots__}
            epochs = [asdict(epoch) for epoch in state.epochs]
            if rank() == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self.folder / "state.pt", {**values, "epochs": epochs, **asdict(self.fingerprint)})
        needed = {"state", f"phase-{state.phase}", f"phase-{best.phase}", f"best-{best.epoch}"}
        self._remove_all_but(needed)

    def save_phase(self, number: int, weights: Weights) -> None:
        """Write all weights of the network at the start of a phase."""
        self._write(f"phase-{number}", weights)

    def load_phase(self, number: int) -> Weights:
        """Return the weights at the start of a phase."""
        return self._read(f"phase-{number}")

    def save_best(self, epoch: int, changed: Weights) -> None:
        """Write the weights that the best epoch so far has changed since the start of its phase."""
        self._write(f"best-{epoch}", changed)

    def load_best(self, best: BestEpoch) -> Weights:
        """Return all weights of the best epoch."""
        return {**self.load_phase(best.phase), **self._read(f"best-{best.epoch}")}

    def _write(self, name: str, weights: Weights) -> None:
        if self.folder is None:
            self._in_memory[name] = {key: tensor.detach().clone() for key, tensor in weights.items()}
        elif rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / f"{name}.pt", weights)

    def _read(self, name: str) -> Weights:
        if self.folder is None:
            return self._in_memory[name]
        weights: Weights = torch.load(self.folder / f"{name}.pt", map_location="cpu", weights_only=True)
        return weights

    def _remove_all_but(self, needed: Set[str]) -> None:
        for name in self._in_memory.keys() - needed:
            del self._in_memory[name]
        if self.folder is not None and rank() == 0:
            for path in self.folder.glob("*-*.pt"):
                if path.stem not in needed:
                    path.unlink()


def write_atomically(path: Path, values: Values) -> None:
    """Write values as torch saves them; a killed process leaves the earlier file, or none."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(dict(values), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name must reach the disk, too
    finally:
        os.close(folder)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
