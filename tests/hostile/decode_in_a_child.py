"""Decode the files named on stdin and say of each, on stdout, how it went; a crash here harms nobody else."""

import json
import sys
import time
from pathlib import Path

from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError


def peak_megabytes() -> float:
    """Highest resident memory of this process, read where the parent's own peak does not count."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    for line in sys.stdin:
        data = Path(line.rstrip("\n")).read_bytes()
        started, outcome = time.process_time(), "accepted"
        try:
            decode_image(data)
        except UnreadableImageError:
            outcome = "refused"
        except BaseException as error:  # whatever escapes is the finding
            outcome = f"{type(error).__name__}: {error}"
        print(json.dumps([outcome, time.process_time() - started, peak_megabytes()]), flush=True)


if __name__ == "__main__":
    main()
