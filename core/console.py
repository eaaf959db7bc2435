"""Print what files and people are called as it is: no name is markup, an emoji code or a control sequence."""

import unicodedata
from collections.abc import Iterable

from rich.console import Console, HighlighterType, JustifyMethod, OverflowMethod
from rich.progress import TextColumn
from rich.style import Style
from rich.text import Text

from core.statistics.cautions import Caution

_LAYOUT = "\n\t"


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
        return Text(replace_control_characters(text, keep=_LAYOUT), style, justify=justify, overflow=overflow)


def print_cautions(console: PlainConsole, cautions: Iterable[Caution]) -> None:
    """Print what a reader of the results must know, one caution a line."""
    for caution in cautions:
        console.print(f"Caution: {caution.words}", style="yellow")


def text_column(width: int = 0) -> TextColumn:
    """Return the column of a progress bar that shows what is being done, as it is."""
    return TextColumn(f"{{task.description:<{width}}}" if width else "{task.description}", markup=False)


def replace_control_characters(text: str, keep: str = "") -> str:
    """Replace characters that control a terminal or the direction of text; file names may contain any character."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in keep else c
        for c in text
    )
