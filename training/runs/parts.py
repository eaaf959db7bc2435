"""Train the parts of a run one after the other; finished parts are not trained again."""

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
from core.fitting.averaging import average_networks
from core.fitting.build import build_network
from core.fitting.config import FitConfig
from core.fitting.distributed import rank, wait
from core.fitting.loop import Work, fit, warm_up
from core.network.hybrid import HybridNetwork
from core.run_history import Epoch
from training.runs.plan import Part, RunPlan
from training.runs.record import Record

WARM_UP = "generated tissue"
_WEIGHTS = "weights.safetensors"
_EPOCHS = "epochs.json"
_ADAPTER = TypeAdapter(list[Epoch])


def build_first_network(config: FitConfig, weight_files: Mapping[str, Path] | None = None) -> HybridNetwork:
    """Build the network that every part starts from: initialised with the run's seed, or pretrained.

    Raises:
        MissingWeightsError: If pretrained weights are needed but not available; the message says how to pass a file.
    """
    torch.manual_seed(config.seed)
    return build_network(config, weight_files)


def build_warmed_up_network(
    config: FitConfig, weight_files: Mapping[str, Path], work: Work
) -> tuple[HybridNetwork, list[Epoch]]:
    """Build the first network and warm it up on generated tissue if the config asks for it."""
    network = build_first_network(config, weight_files)
    return network, [warm_up(network, config.generated, config, work)] if config.generated else []


def planned_epochs(plan: RunPlan, config: FitConfig) -> int:
    """Count the epochs of a whole run."""
    return len(plan.parts) * config.members * config.epochs + (config.generated is not None)


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains networks under one config, each in its own folder below `folder`.

    Under torchrun all processes train together and only the leading process writes.
    """

    config: FitConfig
    folder: Path
    work: Work
    record: Record

    def start(self, weight_files: Mapping[str, Path]) -> HybridNetwork:
        """Return the network that every part starts from, warmed up on generated tissue if configured."""
        folder = self.folder / "start"
        if not _is_finished(folder):
            work = replace(self.work, state=folder / "state")
            self._save(*build_warmed_up_network(self.config, weight_files, work), folder)
        if self.config.generated:
            self.record.part(WARM_UP, _epochs(folder), 1)
        return _load(build_first_network(replace(self.config, pretrained=False)), folder)

    def train(self, start: HybridNetwork, part: Part) -> None:
        """Train the members of a part from one start, each with its own seed; finished members are skipped."""
        for number, (name, folder) in enumerate(self._members(part)):
            if not _is_finished(folder):
                self._train(copy.deepcopy(start), part, number, name)
            self.record.part(name, _epochs(folder), self.config.epochs)

    def network(self, start: HybridNetwork, part: Part) -> HybridNetwork:
        """Return the network with the mean weights of a part's trained members."""
        return average_networks([_load(copy.deepcopy(start), folder) for _, folder in self._members(part)])

    def _members(self, part: Part) -> list[tuple[str, Path]]:
        """Return the names of a part's members and their folders."""
        count = self.config.members
        names = [part.name if count == 1 else f"{part.name}, member {number}" for number in range(1, count + 1)]
        return [(name, self.folder / re.sub(r"\W+", "-", name)) for name in names]

    def _train(self, network: HybridNetwork, part: Part, number: int, name: str) -> None:
        _, folder = self._members(part)[number]
        history = fit(
            network,
            part.train,
            part.validation,
            replace(self.config, seed=self.config.seed + number),
            work=replace(self.work, state=folder / "state"),
            progress=partial(self.record.epoch, name),
        )
        self._save(network, list(history.epochs), folder)

    def _save(self, network: HybridNetwork, epochs: list[Epoch], folder: Path) -> None:
        """Save a finished network; its weights are written last, because their file marks it as finished."""
        if rank() == 0:
            write_whole(folder / _EPOCHS, _ADAPTER.dump_json(epochs))
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
            write_whole(folder / _WEIGHTS, save(state))
            # With the optimiser it is three times the size of the weights, and no longer needed.
            shutil.rmtree(folder / "state", ignore_errors=True)
        wait()


def _is_finished(folder: Path) -> bool:
    finished = (folder / _WEIGHTS).exists()
    # No process continues, and possibly writes the file, before all of them have checked.
    wait()
    return finished


def _load(network: HybridNetwork, folder: Path) -> HybridNetwork:
    network.load_state_dict(load_file(folder / _WEIGHTS))
    return network.eval()


def _epochs(folder: Path) -> list[Epoch]:
    return _ADAPTER.validate_json((folder / _EPOCHS).read_bytes())
