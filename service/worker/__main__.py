"""Run an analysis worker, beside the server or on another machine: `python -m service.worker`."""

from pathlib import Path
from typing import Annotated

import typer

from core.command_line import make_app, run_app
from db.errors import DatabaseBusyError, UnusableDatabaseError
from service.worker.process import try_checkpoint, work
from service.worker.protocol import REQUESTS, TRY, WATCHED


def run(
    *,
    watched: Annotated[bool, typer.Option(WATCHED, hidden=True)] = False,
    requests: Annotated[int | None, typer.Option(REQUESTS, hidden=True)] = None,
    tried: Annotated[Path | None, typer.Option(TRY, hidden=True)] = None,
) -> None:
    """Analyse queued images until Ctrl-C, each one once, however many workers run.

    The settings are those of the server: SECOND_READ_DATABASE, SECOND_READ_DATA and so on.
    """
    raise typer.Exit(try_checkpoint(tried) if tried else work(watched=watched, requests=requests))


app = make_app(run, "python -m service.worker", UnusableDatabaseError, DatabaseBusyError)

if __name__ == "__main__":
    run_app(app)
