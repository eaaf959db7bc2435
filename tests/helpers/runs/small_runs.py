"""Training runs small enough for a test: two tiny networks, a few made images, a database of their own."""

from dataclasses import dataclass
from pathlib import Path

from tests.helpers.databases import copy_tables
from training import train
from training.runs.folder import RunFolder

TINY = """
name = "tiny"
branches = ["test_efficientnet", "test_vit"]
head = "additive"
mean = [0.8, 0.65, 0.76]
std = [0.13, 0.17, 0.12]
members = 2
batch_size = 4
dropout = 0.3
averaging = 0.9
[protocol]
kind = "folds"
folds = 2
[sampling]
kind = "patients"
batches = 2
[[phases]]
name = "all"
epochs = 2
unfrozen = "all"
learning_rate = 1e-3
[input_policy]
kind = "patches"
input_side = 32
patch_side = 48
stride = 48
[generated]
images = 4
batches = 2
share = 0.25
"""
# Turns TINY into one training of one network on one split.
SPLIT = ("protocol.kind=split", "members=1", "generated=", "phases.0.epochs=1", "views=one")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with tiny.toml, images in tissue/, runs/ and a database in it."""

    path: Path

    @property
    def config(self) -> Path:
        path = self.path / "tiny.toml"
        if not path.exists():
            path.write_text(TINY)
        return path

    @property
    def tissue(self) -> Path:
        return self.path / "tissue"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def database(self) -> str:
        path = self.path / "runs.sqlite"
        if not path.exists():
            copy_tables(path)
        return f"sqlite:///{path}"

    def only_run(self) -> RunFolder:
        (path,) = self.runs.iterdir()
        return RunFolder(path)

    def train(
        self,
        *assignments: str,
        name: str = "checkpoint.safetensors",
        limit: int = 0,
        more: tuple[Path, ...] = (),
    ) -> Path:
        train.run(
            self.config,
            data=[self.tissue, *more],
            out=self.path / name,
            runs=self.runs,
            assignments=list(assignments),
            limit=limit,
            threads=1,
            database=self.database,
        )
        return self.path / name
