"""Print what files and people are called as it is: no name is markup, an emoji code or a control sequence."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, HighlighterType, JustifyMethod, OverflowMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.style import Style
from rich.text import Text

from core.files import replace_control_characters
from core.statistics.cautions import Caution


class PlainConsole(Console):
    """A terminal that shows every text, in tables too, character by character; styles are arguments."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False, width: int | None = None) -> None:
        super().__init__(
            stderr=stderr, quiet=quiet, width=width, markup=False, emoji=False, highlight=False, soft_wrap=True
        )

    def render_str(  # noqa: PLR0913 - rich's own signature
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: HighlighterType | None = None,
    ) -> Text:
        """Return a text as it is, whatever was asked; characters that control a terminal are replaced."""
        lines = (replace_control_characters(line) for line in text.split("\n"))
        return Text("\n".join(lines), style, justify=justify, overflow=overflow)


def print_cautions(console: PlainConsole, cautions: Iterable[Caution]) -> None:
    """Print what a reader of the results must know, one caution a line."""
    for caution in cautions:
        console.print(f"Caution: {caution.words}", style="yellow")


def text_column(width: int = 0) -> TextColumn:
    """Return the column of a progress bar that shows what is being done, as it is."""
    return TextColumn(f"{{task.description:<{width}}}" if width else "{task.description}", markup=False)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Draw progress bars with counts and times, on stderr because stdout carries results; a failure leaves none."""
    columns = (text_column(10), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=PlainConsole(stderr=True)) as bar:
        try:
            yield bar
        except Exception:
            for task in bar.task_ids:
                bar.update(task, visible=False)
            raise
