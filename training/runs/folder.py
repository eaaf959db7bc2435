"""The folder of a run: what was asked for, under which circumstances, and what came of it."""

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
from core.fitting.history import CARD_FILE, CHECKPOINT_FILE, CONFIG_FILE, ENVIRONMENT_FILE, HISTORY_FILE, SPLIT_FILE
from training.evaluation.chosen_images import relative_name

_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "albumentations", "scikit-learn")
_FOLD_WORD = "fold"


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for beside the config; kept, so that a run is resumed by naming its folder."""

    data: Path
    dataset: DatasetName
    out: Path | None = None
    lists: Path | None = None
    targets: Path | None = None  # a folder of unlabelled images of another laboratory
    weights: tuple[str, ...] = ()  # NAME=FILE
    cache: Path | None = None
    limit: int = 0
    threads: int = 0
    device: str = "cpu"
    tensorboard: bool = False
    demonstration: bool = True


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where everything of one run lies; `parts` holds what an unfinished run needs to go on."""

    path: Path

    @property
    def config(self) -> Path:
        """The TOML file as it was used."""
        return self.path / CONFIG_FILE

    @property
    def history(self) -> Path:
        """One line an epoch."""
        return self.path / HISTORY_FILE

    @property
    def split(self) -> Path:
        """Which image was in which split or fold."""
        return self.path / SPLIT_FILE

    @property
    def checkpoint(self) -> Path:
        """The trained network."""
        return self.path / CHECKPOINT_FILE

    @property
    def card(self) -> Path:
        """What the checkpoint says of itself; written last, so it is there when the run is done."""
        return self.path / CARD_FILE

    @property
    def parts(self) -> Path:
        """States of unfinished trainings and weights of finished ones; removed at the end."""
        return self.path / "parts"

    def fold(self, number: int) -> Path:
        """The network that did not see this fold."""
        return self.path / "folds" / f"{number}.safetensors"

    def order(self) -> Order:
        """Read what was asked for.

        Raises:
            ValueError: If this is not the folder of a run.
        """
        try:
            return _ORDER.validate_json(json.dumps(json.loads((self.path / ENVIRONMENT_FILE).read_bytes())["order"]))
        except (OSError, KeyError, json.JSONDecodeError, ValidationError) as error:
            raise ValueError(f"{self.path} is not the folder of a run: {error}") from error

    def code_version(self) -> str:
        """Name the code that began the run and, if it is another, the code that is finishing it."""
        began, now = json.loads((self.path / ENVIRONMENT_FILE).read_bytes())["commit"], code_version()
        return began if began == now else f"{began}, finished by {now}"

    def check_split(self, rows: bytes) -> None:
        """Make sure that the images on disk are divided as when the run began.

        Raises:
            ValueError: If they are not.
        """
        if self.split.read_bytes() != rows:
            raise ValueError(
                f"the images are no longer those of {self.split}: a resumed run needs the same files in the same folder"
            )


_ORDER = TypeAdapter(Order)


def create_run(runs: Path, name: str, config: str, order: Order, rows: bytes) -> RunFolder:
    """Make a new folder with the config, the circumstances and the split in it, whole or not at all."""
    unfinished = runs / f".{name}-{os.getpid()}"
    unfinished.mkdir(parents=True, exist_ok=True)
    (unfinished / CONFIG_FILE).write_text(config, encoding="utf-8")
    (unfinished / ENVIRONMENT_FILE).write_text(_environment(order), encoding="utf-8")
    (unfinished / SPLIT_FILE).write_bytes(rows)
    path = unused_folder(runs, name)
    unfinished.rename(path)
    return RunFolder(path.resolve())


def unused_folder(parent: Path, name: str) -> Path:
    """Return a folder that does not exist yet, called by this name and the time."""
    stamp, number = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}", 1
    while (path := parent / (stamp if number == 1 else f"{stamp}-{number}")).exists():
        number += 1
    return path


def split_rows(assignments: Sequence[tuple[LabelledImage, str]], root: Path) -> bytes:
    """Write images and their split or fold as the bytes of a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("file", "patient_id", "label", "split_or_fold"))
    for image, word in assignments:
        writer.writerow((relative_name(image, root), image.patient_id, image.label, _short(word)))
    return text.getvalue().encode()


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that the target is never half of one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def code_version() -> str:
    """Name the commit, or where there is no git the package's version."""
    try:
        command = ["git", "-C", str(_PROJECT), "describe", "--always", "--dirty", "--tags"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return _version("second-read")


def _short(word: str) -> str:
    """Leave out of "fold 2 of 5" how many there are."""
    return " ".join(word.split()[:2]) if word.startswith(_FOLD_WORD) else word


def _environment(order: Order) -> str:
    found = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "commit": code_version(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in _PACKAGES},
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "order": _ORDER.dump_python(order, mode="json"),
    }
    return json.dumps(found, indent=2) + "\n"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
