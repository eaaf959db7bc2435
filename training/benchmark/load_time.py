"""Load the full-size hybrid in this fresh process, our way or the usual way; print seconds and megabytes."""

import sys
import time
from pathlib import Path

import torch

from core.network.checkpoint import load_classifier
from core.network.hybrid import PUBLISHED_BRANCHES, HybridNetwork


def _load(variant: str, folder: Path) -> object:
    if variant == "ours":
        return load_classifier(folder / "ours.safetensors")
    network = HybridNetwork(PUBLISHED_BRANCHES, "published", 2)
    network.load_state_dict(torch.load(folder / "peer.pt", weights_only=True))
    return network.eval()


def _peak_megabytes() -> float:
    # Linux. getrusage() would return the parent's peak, which a new process inherits.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024


if __name__ == "__main__":
    before = _peak_megabytes()
    start = time.perf_counter()
    loaded = _load(sys.argv[1], Path(sys.argv[2]))
    print(time.perf_counter() - start, _peak_megabytes() - before)
