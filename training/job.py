"""Makes or finds the folder of a run and puts together what the run works on: config, images, plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import distributed

from core.datasets import load_dataset, shortfall
from core.fit.distributed import rank
from core.fit_config import FitConfig
from training.overrides import read_config
from training.protocols import Plan, chosen_images, plan_run
from training.run_folder import Order, RunFolder, create_run, split_rows

_IMAGES = {".png", ".tif", ".tiff", ".jpg", ".jpeg"}


@dataclass(frozen=True, slots=True)
class Job:
    """One run: its folder, what was asked for, and what it trains and judges."""

    folder: RunFolder
    config: FitConfig
    order: Order
    plan: Plan
    missing: tuple[str, ...]  # of the dataset, against the official counts

    @property
    def weight_files(self) -> Mapping[str, Path]:
        """The files of pretrained weights by branch."""
        return weight_files(self.order.weights)

    @property
    def targets(self) -> tuple[Path, ...]:
        """The unlabelled images of another laboratory."""
        folder = self.order.targets
        return tuple(sorted(p for p in folder.rglob("*") if p.suffix.lower() in _IMAGES)) if folder else ()


def new_job(config: FitConfig, text: str, order: Order, runs: Path) -> Job:
    """Plan a run and make its folder; under torchrun the leading process makes it for all.

    Raises:
        ValueError: If the images cannot be divided as the config says, or what it needs beside them is not there.
        FileNotFoundError: If the dataset is not there.
    """
    weight_files(order.weights)
    if (config.adversarial is None) != (order.targets is None):
        raise ValueError("the domain-adversarial option and --target, a folder of unlabelled images, need each other")
    plan, missing = _plan(config, order)
    place = [""]
    if rank() == 0:
        rows = split_rows(plan.assignments, order.data)
        place = [str(create_run(runs, config.name, text, order, rows).path)]
    if distributed.is_initialized():
        distributed.broadcast_object_list(place)
    return Job(RunFolder(Path(place[0])), config, order, plan, missing)


def known_job(folder: RunFolder) -> Job:
    """Find an earlier run again.

    Raises:
        ValueError: If the folder is not that of a run, or its images are no longer the same.
    """
    order = folder.order()
    config, _ = read_config(folder.config)
    plan, missing = _plan(config, order)
    folder.check_split(split_rows(plan.assignments, order.data))
    return Job(folder, config, order, plan, missing)


def weight_files(pairs: Sequence[str]) -> dict[str, Path]:
    """Read NAME=FILE pairs.

    Raises:
        ValueError: If one is not such a pair.
    """
    files = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals:
            raise ValueError(f"--weights wants NAME=FILE, got {pair!r}")
        files[name] = Path(file)
    return files


def _plan(config: FitConfig, order: Order) -> tuple[Plan, tuple[str, ...]]:
    images = load_dataset(order.dataset, order.data)
    missing = shortfall(images, order.dataset)
    return plan_run(chosen_images(images, config, order.limit), config, order.lists), missing
