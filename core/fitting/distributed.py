"""Train one network in several processes: shares of the images, and sums over all processes.

Started by torchrun, every process runs the same program. Gradients are averaged by DistributedDataParallel. The result
equals that of one process except for batch normalisation: on a CPU every process normalises by the statistics of its
own part of a batch, and the running statistics are averaged after every epoch; on CUDA the statistics are those of the
whole batch (SyncBatchNorm).
"""

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from core.fitting.sampling import Places


def start(device: str = "cpu") -> str:
    """Join the processes that torchrun started, if there are any, and return the device of this process.

    torchrun sets the environment variables WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.
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
    """Leave the group of processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process; only process 0 writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def own_share(places: Places) -> Places:
    """Return the part of a batch that this process works on.

    Raises:
        ValueError: If there are fewer images than processes.
    """
    if len(places) < world_size():
        raise ValueError(f"{len(places)} images cannot be shared by {world_size()} processes; start fewer processes")
    return places[rank() :: world_size()]


def wait() -> None:
    """Wait until every process has reached this point."""
    if distributed.is_initialized():
        distributed.barrier()


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(tensor)
    return tensor


def average_over_processes(tensor: Tensor) -> Tensor:
    """Average a tensor over all processes, in place."""
    return sum_over_processes(tensor).div_(world_size()) if world_size() > 1 else tensor


def synchronise_batch_norm(network: nn.Module) -> None:
    """Convert batch normalisation to statistics of the whole batch, in place; only on CUDA."""
    if world_size() > 1 and next(network.parameters()).is_cuda:
        # Not torch's conversion: it would lose the activations inside timm's normalisation layers.
        convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]


def average_gradients(module: nn.Module) -> nn.Module:
    """Return the module with its gradients averaged over all processes."""
    if world_size() == 1:
        return module
    # Some timm networks have layers after their feature map, which get no gradient.
    return DistributedDataParallel(module, forward_sync_buffers=False, find_unused_parameters=True)


def without_exchange(module: nn.Module) -> AbstractContextManager[None]:
    """Return a context without gradient exchange, for all but the last batch of a step."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()
