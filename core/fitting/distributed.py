"""Several processes train one network: who takes which images, and sums over all of them.

Started by torchrun, every process runs the same program. Gradients are averaged by DistributedDataParallel. Batch
normalisation is the exception to "equal to one process": on a CPU every process normalises by the statistics of
its own part of a batch, and the running statistics are averaged after every epoch; on CUDA the statistics are
those of the whole batch (SyncBatchNorm).
"""

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from core.fitting.sampling import Places


def start(device: str = "cpu") -> str:
    """Join the processes that torchrun started, if it did; give the device of this one.

    Read are the environment variables WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.
    """
    if "WORLD_SIZE" not in os.environ or distributed.is_initialized():
        return device
    cuda = torch.device(device).type == "cuda"
    if cuda:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    return device


def stop() -> None:
    """Leave the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Give the number of this process; only the one with number 0 writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Give how many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def own_share(places: Places) -> Places:
    """Give this process's part of what all of them work on.

    Raises:
        ValueError: If there is not one for each.
    """
    if len(places) < world():
        raise ValueError(f"{len(places)} images cannot be shared by {world()} processes: start fewer")
    return places[rank() :: world()]


def wait() -> None:
    """Wait until every process has come this far."""
    if distributed.is_initialized():
        distributed.barrier()


def summed(tensor: Tensor) -> Tensor:
    """Add up a tensor over all processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(tensor)
    return tensor


def averaged(tensor: Tensor) -> Tensor:
    """Take the mean of a tensor over all processes, in place."""
    return summed(tensor).div_(world()) if world() > 1 else tensor


def synchronised(network: nn.Module) -> None:
    """Make batch normalisation see the whole batch, where it can: in place, on CUDA."""
    if world() > 1 and next(network.parameters()).is_cuda:
        # Not torch's: that would lose the activations that timm keeps inside its normalisations.
        convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]


def wrapped(module: nn.Module) -> nn.Module:
    """Let the gradients of a module be averaged over all processes."""
    if world() == 1:
        return module
    # Some timm networks own layers behind their feature map, which get no gradient.
    return DistributedDataParallel(module, forward_sync_buffers=False, find_unused_parameters=True)


def without_exchange(module: nn.Module) -> AbstractContextManager[None]:
    """Keep gradients to this process while a step is still being added up."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()
