"""Keep the memory of big tensors for the next ones, instead of returning it to the system after each."""

import ctypes

# From malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3

_LARGEST = 2**31 - 1  # bytes; mallopt takes an int
_TOP_PAD = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep what is freed; return False where there is no glibc, and nothing changes.

    By default every tensor above a few megabytes is mapped and unmapped by the system, which fills its pages with zeros
    each time: a third of the processor time of a prediction. Call it before the first tensor.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = ((_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, _TOP_PAD))
    return {mallopt(option, size) for option, size in wanted} == {1}
