"""What is printed to the terminal is what the text says, in lines and in tables."""

import pytest
from rich.progress import Progress
from rich.table import Table

from core.console import PlainConsole, print_cautions, text_column
from core.statistics.cautions import Caution

TEXTS = ("[red]a.png[/red]", "[/closing", "[link=https://example.org]b", ":warning: c", "\\[d]", "P[1]")


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole(width=300)
    console.print(text, style="red")
    console.print(f"a line and\n{text}")
    table = Table("file", title=text, caption=text)
    table.add_row(text)
    console.print(table, soft_wrap=False)
    assert capsys.readouterr().out.count(text) == 5


@pytest.mark.parametrize("text", TEXTS)
def test_a_progress_bar_says_what_it_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(text_column(), console=PlainConsole(width=300)) as bar:
        bar.add_task(text)
    assert text in capsys.readouterr().out


def test_what_controls_a_terminal_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    PlainConsole(width=300).print("a\x1b[2Jb\u202ec\udce9d\ne")
    assert capsys.readouterr().out == "a\ufffd[2Jb\ufffdc\ufffdd\ne\n"


def test_a_long_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_cautions(PlainConsole(width=20), [Caution("images left out", "a caution of more than twenty letters", "[b]")])
    assert capsys.readouterr().out == "Caution: a caution of more than twenty letters ([b])\n"
