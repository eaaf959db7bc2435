"""The paper of a PDF report: its font, what stands on every page, and how words, tables and pictures are set."""

import io
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import matplotlib
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace, TTFFont

ON_EVERY_PAGE = "Research use only – not a diagnosis"
WIDTH = 190.0  # mm between the margins of A4
_MARGIN = 10.0  # mm
_FONT = "DejaVu"  # has the letters of most European languages, and signs such as ○ and ▲
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LACKING = "\N{REPLACEMENT CHARACTER}"
_GREY = (90, 96, 100)
_SHADE = (238, 240, 241)


class Sheet(FPDF):
    """A4 pages that say on each of them what they must not be used for."""

    def __init__(self, title: str, made: str, at: datetime) -> None:
        super().__init__(format="A4", unit="mm")
        self._title, self._made = title, made
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.add_font(_FONT, "", fonts / "DejaVuSans.ttf")
        self.add_font(_FONT, "B", fonts / "DejaVuSans-Bold.ttf")
        self.set_margin(_MARGIN)
        self.c_margin = 0  # words begin where pictures do
        self.set_auto_page_break(True, margin=18)
        self.set_creation_date(at)
        self.set_title(title)
        self.set_subject(ON_EVERY_PAGE)
        self.set_creator("Second Read")
        self.set_font(_FONT, size=9)
        self.add_page()

    def header(self) -> None:
        """Set the case and the disclaimer above every page."""
        self.set_font(_FONT, "B", 8)
        self.cell(WIDTH / 2, 5, self.settable(self._title))
        self.cell(WIDTH / 2, 5, ON_EVERY_PAGE, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.line(_MARGIN, self.get_y() + 1, _MARGIN + WIDTH, self.get_y() + 1)
        self.ln(4)
        self.set_font(_FONT, size=9)

    def footer(self) -> None:
        """Set when it was made, by whom, and the page below every page."""
        self.set_y(-14)
        self.set_font(_FONT, size=7)
        self.set_text_color(*_GREY)
        self.cell(WIDTH * 0.8, 5, self.settable(f"{ON_EVERY_PAGE}. {self._made}"))
        self.cell(WIDTH * 0.2, 5, f"page {self.page_no()} of {{nb}}", align="R")
        self.set_text_color(0)

    def settable(self, words: str) -> str:
        """Put a sign in place of what the font lacks; it would be named in the log otherwise, and may be a name."""
        plain, font = _CONTROLS.sub(" ", words), self.fonts[_FONT.lower()]
        known = font.cmap if isinstance(font, TTFFont) else {}
        return "".join(letter if letter == "\n" or ord(letter) in known else _LACKING for letter in plain)

    def heading(self, words: str, room: float = 25) -> None:
        """Set a heading, with room for what follows it, in mm."""
        if self.will_page_break(room):
            self.add_page()
        self.ln(3)
        self.set_font(_FONT, "B", 11)
        self.cell(WIDTH, 7, self.settable(words), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(_FONT, size=9)

    def words(self, words: str, *, size: float = 9, bold: bool = False) -> None:
        """Set a paragraph."""
        self.set_font(_FONT, "B" if bold else "", size)
        height = size * 0.5
        self.multi_cell(WIDTH, height, self.settable(words), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(_FONT, size=9)

    def lines(self, columns: Sequence[str], widths: Sequence[int], rows: Sequence[Sequence[str]]) -> None:
        """Set a table; its head is repeated on every page."""
        self.set_font(_FONT, size=7)
        with self.table(
            col_widths=tuple(widths),
            line_height=3.8,
            text_align="LEFT",
            padding=0.8,
            headings_style=FontFace(emphasis="BOLD", fill_color=_SHADE),
        ) as table:
            for row in (columns, *rows):
                line = table.row()
                for cell in row:
                    line.cell(self.settable(cell))
        self.set_font(_FONT, size=9)
        self.ln(1)

    def picture(self, jpeg: bytes, x: float, y: float, size: tuple[float, float]) -> None:
        """Place a picture; lengths in mm."""
        self.image(io.BytesIO(jpeg), x=x, y=y, w=size[0], h=size[1])

    def written(self) -> bytes:
        """Give the bytes of the file."""
        return bytes(self.output())
