"""Commands for cases: `python -m db cases open-to-predictions`."""

from typing import Annotated

import typer

from core.command_line import show_example
from db import store
from db.commands.session import writing_session

_EXAMPLE = show_example('python -m db cases open-to-predictions B12-345 --why "requested by the tumour board"')

cases = typer.Typer(epilog=_EXAMPLE, no_args_is_help=True, help="Manage what programs may ask about cases.")


@cases.callback()
def _cases() -> None:
    """Keep the name of the only command."""


@cases.command(epilog=_EXAMPLE)
def open_to_predictions(
    case: Annotated[str, typer.Argument(help="number of the case, as readers see it")],
    why: Annotated[str, typer.Option(help="the reason, for the audit trail")],
) -> None:
    """Let programs get predictions of the images of a case before it is signed off; this cannot be undone."""
    with writing_session() as session:
        store.predictable.open_to_predictions(session, None, case, why)
    typer.echo(f"programs may get predictions of the images of {case}")
