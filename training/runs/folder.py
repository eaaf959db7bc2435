"""The folder of a run: its options, its environment and its results."""

import csv
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from core.data.datasets import DatasetName, LabelledImage
from core.run_history import CARD_FILE, CHECKPOINT_FILE, CONFIG_FILE, ENVIRONMENT_FILE, HISTORY_FILE, SPLIT_FILE
from training.evaluation.chosen_images import relative_name

_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "albumentations", "scikit-learn")
_FOLD_WORD = "fold"


@dataclass(frozen=True, slots=True)
class Order:
    """The options of a run beside its config; stored, so that its folder is enough to resume it."""

    data: Path
    dataset: DatasetName
    out: Path | None = None
    lists: Path | None = None
    targets: Path | None = None  # folder of unlabelled images from another laboratory
    weights: tuple[str, ...] = ()  # NAME=FILE
    cache: Path | None = None
    limit: int = 0
    threads: int = 0
    device: str = "cpu"
    tensorboard: bool = False
    demonstration: bool = True
    outside: bool = False  # whether labels.csv may name links and files outside its folder
    patients: Path | None = None  # a table of the patients of BACH
    more: tuple[Path, ...] = ()  # further folders of the dataset

    @property
    def roots(self) -> tuple[Path, ...]:
        """All folders of the dataset."""
        return (self.data, *self.more)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run; `parts` holds what an unfinished run needs to continue."""

    path: Path

    @property
    def config(self) -> Path:
        """The config as it was used, a TOML file."""
        return self.path / CONFIG_FILE

    @property
    def history(self) -> Path:
        """The training history, one line per epoch."""
        return self.path / HISTORY_FILE

    @property
    def split(self) -> Path:
        """The split or fold of each image."""
        return self.path / SPLIT_FILE

    @property
    def checkpoint(self) -> Path:
        """The trained network."""
        return self.path / CHECKPOINT_FILE

    @property
    def card(self) -> Path:
        """The card of the checkpoint; written last, so that it exists once the run is finished."""
        return self.path / CARD_FILE

    @property
    def parts(self) -> Path:
        """Training states of unfinished parts and weights of finished ones; removed at the end."""
        return self.path / "parts"

    def fold(self, number: int) -> Path:
        """Return the path of the network that was trained without this fold."""
        return self.path / "folds" / f"{number}.safetensors"

    def order(self) -> Order:
        """Read the options of the run.

        Raises:
            ValueError: If this is not the folder of a run.
        """
        try:
            return _ORDER.validate_json(json.dumps(json.loads((self.path / ENVIRONMENT_FILE).read_bytes())["order"]))
        except (OSError, KeyError, json.JSONDecodeError, ValidationError) as error:
            raise ValueError(f"{self.path} is not the folder of a run: {error}") from error

    def code_version(self) -> str:
        """Return the version of the code that started the run and, if it differs, of the code that finishes it."""
        start, now = json.loads((self.path / ENVIRONMENT_FILE).read_bytes())["commit"], code_version()
        return start if start == now else f"{start}, finished by {now}"

    def check_split(self, rows: bytes) -> None:
        """Check that the images on disk are split as at the start of the run.

        Raises:
            ValueError: If they are not.
        """
        if self.split.read_bytes() != rows:
            raise ValueError(
                f"the images differ from those in {self.split}: a resumed run needs the same files in the same folder"
            )


_ORDER = TypeAdapter(Order)


def create_run(runs: Path, name: str, config: str, order: Order, rows: bytes) -> RunFolder:
    """Create the folder of a new run with config, environment and split, completely or not at all."""
    unfinished = runs / f".{name}-{os.getpid()}"
    unfinished.mkdir(parents=True, exist_ok=True)
    (unfinished / CONFIG_FILE).write_text(config, encoding="utf-8")
    (unfinished / ENVIRONMENT_FILE).write_text(_environment(order), encoding="utf-8")
    (unfinished / SPLIT_FILE).write_bytes(rows)
    path = unused_folder(runs, name)
    unfinished.rename(path)
    return RunFolder(path.resolve())


def unused_folder(parent: Path, name: str) -> Path:
    """Return the path of a folder that does not exist yet, named by `name` and the current time."""
    stamp, number = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}", 1
    while (path := parent / (stamp if number == 1 else f"{stamp}-{number}")).exists():
        number += 1
    return path


def split_rows(assignments: Sequence[tuple[LabelledImage, str]], *roots: Path) -> bytes:
    """Return images and their split or fold as the bytes of a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("file", "patient_id", "label", "split_or_fold"))
    for image, word in assignments:
        writer.writerow((relative_name(image, *roots), image.patient_id, image.label, _short(word)))
    return text.getvalue().encode()


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that the target is never incomplete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def code_version() -> str:
    """Return the git commit, or "unknown" where there is no git."""
    try:
        command = ["git", "-C", str(_PROJECT), "describe", "--always", "--dirty", "--tags"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _short(word: str) -> str:
    """Shorten "fold 2 of 5" to "fold 2"."""
    return " ".join(word.split()[:2]) if word.startswith(_FOLD_WORD) else word


def _environment(order: Order) -> str:
    environment = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "commit": code_version(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in _PACKAGES},
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "order": _ORDER.dump_python(order, mode="json"),
    }
    return json.dumps(environment, indent=2) + "\n"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
