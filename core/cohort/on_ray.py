"""Score images on Ray: actors on this machine or on a cluster, each with a network of its own.

Ray gives a block of images to another actor if one dies. Images and checkpoint need the same paths on every machine.
"""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

import core
from core.cohort.listing import CohortFile
from core.cohort.rows import build_table, score_image
from core.computing import WantedComputing
from core.process import prepare_process

_BLOCK = 16  # images that are given to an actor at once, and again if it dies
_HERE = "local"


class ClusterError(Exception):
    """Ray cannot be used, or it failed; the message says why."""


def score_on_ray(
    files: Sequence[CohortFile], checkpoint: Path, wanted: WantedComputing, made_with: str, address: str, actors: int
) -> Iterator[pa.Table]:
    """Yield the rows of all images, a block at a time, in whatever order they are done.

    Raises:
        ClusterError: If Ray is not installed, cannot be reached, or gives up.
    """
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("Ray is not installed: pip install -r requirements-ray.txt")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about a cohort leaves the machines
    import ray  # noqa: PLC0415 - an optional package, which takes seconds
    import ray.data  # noqa: PLC0415

    try:
        _connect(address)
        ray.data.DataContext.get_current().enable_progress_bars = False
        shared = ray.put(list(files))  # kept until the end: an actor that is started again asks for it
        places = ray.data.range(len(files), override_num_blocks=-(-len(files) // _BLOCK))
        scored = places.map_batches(
            _Scorer,
            fn_constructor_args=(shared, str(checkpoint), wanted, made_with),
            batch_format="pyarrow",
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            num_gpus=1 if wanted.device.startswith("cuda") else None,
        )
        yield from scored.iter_batches(batch_format="pyarrow", batch_size=None)
    except (ray.exceptions.RayError, ConnectionError, ValueError) as error:
        raise ClusterError(f"Ray failed: {error}") from error
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    import ray  # noqa: PLC0415

    if address == _HERE:
        ray.init(address=_HERE, include_dashboard=False, log_to_driver=False)
    else:
        own = {"py_modules": [str(Path(str(core.__file__)).parent)]}
        ray.init(address=address, log_to_driver=False, runtime_env=own)


class _Scorer:
    """An actor: one network, which scores the images at the places it is given."""

    def __init__(self, files: object, checkpoint: str, wanted: WantedComputing, made_with: str) -> None:
        import ray  # noqa: PLC0415

        from core.network.checkpoint import load_for_use  # noqa: PLC0415 - only actors load torch

        prepare_process()
        self._files: list[CohortFile] = ray.get(files)
        self._classifier = load_for_use(Path(checkpoint), wanted)
        self._made_with = made_with

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the rows of the images at these places."""
        files = [self._files[place] for place in block.column("id").to_pylist()]
        version = self._classifier.version
        return build_table([score_image(file, self._classifier, version) for file in files], self._made_with)
