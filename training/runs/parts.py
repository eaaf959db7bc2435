"""Trains the parts of a run one after the other; what is finished is never trained again."""

import copy
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save

from core.files import write_whole
from core.fitting.averaging import mean_network
from core.fitting.build import build_network
from core.fitting.config import FitConfig
from core.fitting.distributed import rank, wait
from core.fitting.history import Epoch
from core.fitting.loop import Work, fit, warm_up
from core.network.hybrid import HybridNetwork
from training.runs.plan import Part, Plan
from training.runs.record import Record

WARM_UP = "generated tissue"
_WEIGHTS = "weights.safetensors"
_EPOCHS = "epochs.json"
_ADAPTER = TypeAdapter(list[Epoch])


def first_network(config: FitConfig, weight_files: Mapping[str, Path] | None = None) -> HybridNetwork:
    """Build the network that every part starts from: of the run's seed, or pretrained.

    Raises:
        MissingWeightsError: If pretrained weights are asked for and cannot be had; it says how to pass a file.
    """
    torch.manual_seed(config.seed)
    return build_network(config, weight_files)


def warmed_network(
    config: FitConfig, weight_files: Mapping[str, Path], work: Work
) -> tuple[HybridNetwork, list[Epoch]]:
    """Build the first network and warm it up on generated tissue, where the config wants that."""
    network = first_network(config, weight_files)
    return network, [warm_up(network, config.generated, config, work)] if config.generated else []


def planned_epochs(plan: Plan, config: FitConfig) -> int:
    """Count the epochs of a whole run."""
    return len(plan.parts) * config.members * config.epochs + (config.generated is not None)


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains networks under one config, each in a folder of its own below `folder`.

    Under torchrun all processes train together and only the leading one writes.
    """

    config: FitConfig
    folder: Path
    work: Work
    record: Record

    def start(self, weight_files: Mapping[str, Path]) -> HybridNetwork:
        """Give the network that every part starts from, perhaps warmed up on generated tissue."""
        place = self.folder / "start"
        if not _finished(place):
            work = replace(self.work, state=place / "state")
            self._keep(*warmed_network(self.config, weight_files, work), place)
        if self.config.generated:
            self.record.part(WARM_UP, _epochs(place), 1)
        return _load(first_network(replace(self.config, pretrained=False)), place)

    def train(self, start: HybridNetwork, part: Part) -> None:
        """Train copies of one start, each under its own seed, unless that was done before."""
        for number, (name, place) in enumerate(self._members(part)):
            if not _finished(place):
                self._train(copy.deepcopy(start), part, number, name)
            self.record.part(name, _epochs(place), self.config.epochs)

    def network(self, start: HybridNetwork, part: Part) -> HybridNetwork:
        """Give the mean of the weights of a part's trained members."""
        return mean_network([_load(copy.deepcopy(start), place) for _, place in self._members(part)])

    def _members(self, part: Part) -> list[tuple[str, Path]]:
        """Name the members of a part and their folders."""
        count = self.config.members
        names = [part.name if count == 1 else f"{part.name}, member {number}" for number in range(1, count + 1)]
        return [(name, self.folder / re.sub(r"\W+", "-", name)) for name in names]

    def _train(self, network: HybridNetwork, part: Part, number: int, name: str) -> None:
        _, place = self._members(part)[number]
        history = fit(
            network,
            part.train,
            part.validation,
            replace(self.config, seed=self.config.seed + number),
            work=replace(self.work, state=place / "state"),
            progress=partial(self.record.epoch, name),
        )
        self._keep(network, list(history.epochs), place)

    def _keep(self, network: HybridNetwork, epochs: list[Epoch], place: Path) -> None:
        """Keep a finished network; its weights are written last, because they say that it is finished."""
        if rank() == 0:
            write_whole(place / _EPOCHS, _ADAPTER.dump_json(epochs))
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
            write_whole(place / _WEIGHTS, save(state))
            # Optimiser and all: three times the size of the weights, and not needed any more.
            shutil.rmtree(place / "state", ignore_errors=True)
        wait()


def _finished(place: Path) -> bool:
    found = (place / _WEIGHTS).exists()
    # Nobody goes on, and perhaps writes the file, before everybody has looked.
    wait()
    return found


def _load(network: HybridNetwork, place: Path) -> HybridNetwork:
    network.load_state_dict(load_file(place / _WEIGHTS))
    return network.eval()


def _epochs(place: Path) -> list[Epoch]:
    return _ADAPTER.validate_json((place / _EPOCHS).read_bytes())
