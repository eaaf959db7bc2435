"""What a process that computes with big tensors sets before the first one: how it keeps memory, and how it waits."""

import ctypes
import os

# From malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3

_LARGEST = 2**31 - 1  # bytes; mallopt takes an int
_TOP_PAD = 256 * 2**20

# Turns of the loop in which an idle thread of GNU OpenMP waits before it sleeps. By default it makes 300,000 turns,
# and takes the processor from whoever has work; 1,000 is what it does itself where it sees too many threads of its own.
_SPINS = "1000"


def prepare_process() -> None:
    """Keep freed memory, and leave the processor to others while waiting; before torch is imported.

    What the environment says of waiting stays.
    """
    keep_freed_memory()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep what is freed; return False where there is no glibc, and nothing changes.

    By default big tensors are returned to the system, which clears the pages of the next ones again.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = ((_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, _TOP_PAD))
    return {mallopt(option, size) for option, size in wanted} == {1}
