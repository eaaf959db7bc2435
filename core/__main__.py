"""The command line: `python -m core predict` analyses images, `python -m core score` a whole cohort."""

import typer

from core.command_line import refuse_in_words, run_app, show_example
from core.commands.check_precision import check_precision
from core.commands.predict import RESEARCH_ONLY, predict
from core.commands.score import score

_EXAMPLE = show_example("python -m core predict images/ --csv results.csv")

app = typer.Typer(
    epilog=_EXAMPLE,
    help=f"Analyse breast-histopathology images. {RESEARCH_ONLY}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog=_EXAMPLE)(refuse_in_words(OSError)(predict))
app.command(epilog=show_example("python -m core score cohort/ --out scores.parquet"))(score)
app.command("check-precision", epilog=show_example("python -m core check-precision images/ --backend openvino-bf16"))(
    check_precision
)

if __name__ == "__main__":
    run_app(app)
