"""What all commands share: an example in the help, and one line instead of a traceback for what cannot be done."""

import functools
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import ParamSpec

import typer

from core.console import PlainConsole
from core.process import prepare_process
from core.settings import UnusableSettingError
from core.statistics.cautions import Caution

_Given = ParamSpec("_Given")
_LEFT_OUT, _WRONG_USE, _FAULT = 1, 2, 70  # exit status; 70 is that of sysexits.h for an error of the program itself


def make_app(function: Callable[_Given, None], example: str, *refusals: type[Exception]) -> typer.Typer:
    """Return a program with a single command; its `refusals` are errors whose message says what to change."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(epilog=show_example(example))(refuse_in_words(*refusals)(function))
    return app


def show_example(command: str) -> str:
    """Return the last paragraph of the help of a command."""
    return f"Example: {command}"


def refuse_in_words(
    *refusals: type[Exception],
) -> Callable[[Callable[_Given, None]], Callable[_Given, None]]:
    """Return a decorator that ends a command with the message of such an error, in one line, and status 2."""

    def decorate(function: Callable[_Given, None]) -> Callable[_Given, None]:
        @functools.wraps(function)
        def refusing(*args: _Given.args, **kwargs: _Given.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except BrokenPipeError:  # the reader of the pipe has gone, and typer ends without a message
                raise
            except refusals as error:
                PlainConsole(stderr=True).print(str(error), style="red")
                raise typer.Exit(_WRONG_USE) from error

        return refusing

    return decorate


def end_if_left_out(cautions: Iterable[Caution]) -> None:
    """End a command that has done its work with status 1 if pictures were left out of it."""
    if any(caution.kind == "images left out" for caution in cautions):
        raise typer.Exit(_LEFT_OUT)


def run_app(app: typer.Typer) -> None:
    """Run a program; an error that nobody expected is called the program's own, below where it happened."""
    prepare_process()
    try:
        app()
    except UnusableSettingError as error:
        PlainConsole(stderr=True).print(str(error), style="red")
        sys.exit(_WRONG_USE)
    except Exception:
        traceback.print_exc()
        print("This is an error in the program. Please report it with the lines above.", file=sys.stderr)
        sys.exit(_FAULT)
