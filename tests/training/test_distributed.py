import socket
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from core.fitting import distributed
from tests.helpers import forked
from tests.helpers.images.tissue import tissue_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the outcome of one process and of two that worked together."""
    folder = tmp_path_factory.mktemp("shared")
    tissue_folder(folder / "tissue", patients=6)
    for count in (1, 2):
        # What torchrun tells each process; test_train_resume.py starts it.
        told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
        with ExitStack() as processes:
            started = [
                processes.enter_context(
                    forked.running(
                        "tests.helpers.runs.shared_fit",
                        folder,
                        imported=forked.TRAINING,
                        environment={**told, "RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else None,
                    )
                )
                for rank in range(count)
            ]
            for ended in [process.finish() for process in started]:
                assert ended.returncode == 0, ended.stderr
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_compute_the_gradient_of_one(trained: Path) -> None:
    first, second = (
        torch.load(trained / f"{count} one step" / "state" / "state.pt", weights_only=True) for count in (1, 2)
    )
    means = [[state["exp_avg"] for state in found["optimiser"]["state"].values()] for found in (first, second)]
    assert len(means[0]) > 10
    for one, other in zip(*means, strict=True):
        # Adam's first mean is a tenth of the gradient.
        assert torch.allclose(one * 10, other * 10, atol=1e-5)
    assert max(float(one.abs().max()) for one in means[0]) > 1e-3
    assert first["epochs"][0]["loss"] == pytest.approx(second["epochs"][0]["loss"], abs=1e-5)


def test_two_processes_end_with_the_weights_and_figures_of_one(trained: Path) -> None:
    one, two = (torch.load(trained / f"{count} whole" / "kept-0.pt", weights_only=True) for count in (1, 2))
    assert one["kept"] == two["kept"]
    assert np.allclose(one["figures"], two["figures"], atol=1e-5)
    for name, weight in one["weights"].items():
        assert torch.allclose(weight, two["weights"][name], atol=1e-5), name


@pytest.mark.parametrize("run", ["whole", "stopped", "batch statistics"])
def test_every_process_ends_with_the_same_weights_and_figures(trained: Path, run: str) -> None:
    first, second = (torch.load(trained / f"2 {run}" / f"kept-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["figures"] == second["figures"]
    assert all(torch.equal(weight, second["weights"][name]) for name, weight in first["weights"].items())


@pytest.mark.parametrize("count", [1, 2])
def test_a_stopped_run_of_any_number_of_processes_goes_on_to_the_same_end(trained: Path, count: int) -> None:
    whole, stopped = (
        torch.load(trained / f"{count} {run}" / "kept-0.pt", weights_only=True) for run in ("whole", "stopped")
    )
    assert whole["figures"] == stopped["figures"]
    assert all(torch.equal(weight, stopped["weights"][name]) for name, weight in whole["weights"].items())


def test_only_the_first_process_writes(trained: Path) -> None:
    assert {path.name for path in (trained / "2 whole" / "state").iterdir()} >= {"state.pt", "phase-3.pt"}
    assert not list((trained / "2 whole").rglob("*.partial"))
    assert len(list((trained / "2 whole" / "cache").glob("*.f32"))) == 2


def test_one_process_alone_has_every_share() -> None:
    places = np.arange(5)
    assert np.array_equal(distributed.own_share(places), places)
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
