"""The command line: `python -m core predict PATH...` analyses images and folders of images."""

import typer

from core.command_line import refuse_in_words, run_app, show_example
from core.commands.predict import RESEARCH_ONLY, predict

app = typer.Typer(
    help=f"Analyse breast-histopathology images. {RESEARCH_ONLY}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog=show_example("python -m core predict images/ --csv results.csv"))(refuse_in_words(OSError)(predict))


@app.callback()
def _commands() -> None:
    """Keep `predict` a subcommand while it is the only one."""


if __name__ == "__main__":
    run_app(app)
