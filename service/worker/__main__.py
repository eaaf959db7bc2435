"""Run the analysis worker: `python -m service.worker`."""

import sys

from service.worker.worker import main

if __name__ == "__main__":
    sys.exit(main())
