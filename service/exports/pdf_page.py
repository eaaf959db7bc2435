"""Page layout of the PDF report: font, header and footer, text, tables, and images with regions and heat maps."""

import io
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import matplotlib
from fontTools.ttLib import TTLibError
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.errors import FPDFException
from fpdf.fonts import FontFace, TTFFont
from PIL import Image, ImageDraw, ImageFont

from core.imaging.decode import decode_image
from core.imaging.heatmaps import decode_heatmap, make_colour_bar, make_thumbnail, overlay_heatmap, shrink_onto
from core.results import RgbImage
from db.files import Files
from db.values.exports import ExportedImage, ExportedMap
from db.values.reading import Region, RegionKind
from service.exports.fonts import list_fallback_fonts, read_letters
from service.exports.geojson import outline

OPACITY = 0.45  # of a heat map on its image
_JPEG_QUALITY = 88
_INK, _HALO = (255, 255, 255), (20, 20, 20)  # RGB
_CROSS = 7  # px; half the length of the cross of a point
_TEXT_SIZE = 22  # px

PAGE_NOTICE = "Research use only – not a diagnosis"
WIDTH = 190.0  # mm between the margins of A4
_MARGIN = 10.0  # mm
_FONT = "DejaVu"  # covers most European languages, and symbols such as ○ and ▲
_MOST_MISSING = 40  # characters that a report names
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MISSING = "\N{REPLACEMENT CHARACTER}"
_GREY = (90, 96, 100)
_SHADE = (238, 240, 241)


def render_image(files: Files, image: ExportedImage, side: int, regions: Sequence[tuple[str, Region]] = ()) -> bytes:
    """Return an image as JPEG, its longest side at most `side` px, with regions and their short names drawn on it.

    Raises:
        DamagedFileError: If the stored file is missing or has changed.
    """
    shrunk = make_thumbnail(decode_image(files.get(image.file_sha256), stored=True).pixels, side)
    if not regions:
        return _jpeg(shrunk)
    picture = Image.fromarray(shrunk)
    pen, scale = ImageDraw.Draw(picture), shrunk.shape[1] / image.width
    font = ImageFont.load_default(size=_TEXT_SIZE)
    for name, region in regions:
        _draw_region(pen, [(x * scale, y * scale) for x, y in _line(region)], point=region.kind is RegionKind.POINT)
        x, y = region.points[0]
        room = max(3 * _TEXT_SIZE, pen.textlength(name, font=font) + 4)
        place = (min(x * scale + 4, shrunk.shape[1] - room), max(0, y * scale - _TEXT_SIZE - 6))
        pen.text(place, name, fill=_INK, stroke_fill=_HALO, stroke_width=3, font=font)
    return _encode(picture)


def render_heatmap(files: Files, image: ExportedImage, stored: ExportedMap, side: int) -> bytes:
    """Return an image as JPEG with its heat map over it, coloured over the whole range of that map.

    Raises:
        DamagedFileError: If a stored file is missing or has changed.
        ValueError: If the stored file is not a heat map of this program.
    """
    shrunk = make_thumbnail(decode_image(files.get(image.file_sha256), stored=True).pixels, side)
    heatmap = shrink_onto(decode_heatmap(files.get(stored.file_sha256)), shrunk)
    return _jpeg(overlay_heatmap(shrunk, heatmap, OPACITY, span=(stored.low, stored.high)))


def render_colour_bar() -> bytes:
    """Return the colour bar of heat maps as JPEG, from the smallest evidence to the largest."""
    return _jpeg(make_colour_bar(256, 8))


def _line(region: Region) -> list[tuple[float, float]]:
    is_open = region.kind in (RegionKind.POINT, RegionKind.LINE)
    return list(region.points) if is_open else outline(region)


def _draw_region(pen: ImageDraw.ImageDraw, line: list[tuple[float, float]], *, point: bool) -> None:
    strokes = [line]
    if point:
        ((x, y),) = line
        strokes = [[(x - _CROSS, y), (x + _CROSS, y)], [(x, y - _CROSS), (x, y + _CROSS)]]
    # Light on dark, so that it is visible on any tissue and in print.
    for colour, width in ((_HALO, 5), (_INK, 2)):
        for stroke in strokes:
            pen.line(stroke, fill=colour, width=width, joint="curve")


def _jpeg(pixels: RgbImage) -> bytes:
    return _encode(Image.fromarray(pixels))


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


class ReportSheet(FPDF):
    """A document of A4 pages that all carry the research-use notice."""

    def __init__(self, title: str, origin: str, at: datetime) -> None:
        super().__init__(format="A4", unit="mm")
        self._title, self._origin = title, origin
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.add_font(_FONT, "", fonts / "DejaVuSans.ttf")
        self.add_font(_FONT, "B", fonts / "DejaVuSans-Bold.ttf")
        self._added: list[str] = []  # names of the fallback fonts in use
        self._missing: set[str] = set()
        self.set_margin(_MARGIN)
        self.c_margin = 0  # align text with pictures
        self.set_auto_page_break(True, margin=18)
        self.set_creation_date(at)
        self.set_title(title)
        self.set_subject(PAGE_NOTICE)
        self.set_creator("Second Read")
        self.set_font(_FONT, size=9)
        self.add_page()

    def header(self) -> None:
        """Draw the case number and the research-use notice at the top of every page."""
        self.set_font(_FONT, "B", 8)
        self.cell(WIDTH / 2, 5, self._printable(self._title))
        self.cell(WIDTH / 2, 5, PAGE_NOTICE, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.line(_MARGIN, self.get_y() + 1, _MARGIN + WIDTH, self.get_y() + 1)
        self.ln(4)
        self.set_font(_FONT, size=9)

    def footer(self) -> None:
        """Draw when and by whom the report was created, and the page number, at the bottom of every page."""
        self.set_y(-14)
        self.set_font(_FONT, size=7)
        self.set_text_color(*_GREY)
        self.cell(WIDTH * 0.8, 5, self._printable(f"{PAGE_NOTICE}. {self._origin}"))
        self.cell(WIDTH * 0.2, 5, f"page {self.page_no()} of {{nb}}", align="R")
        self.set_text_color(0)

    def draw_heading(self, text: str, *, space: float = 25) -> None:
        """Draw a heading, on a new page if less than `space` mm would remain below it."""
        if self.will_page_break(space):
            self.add_page()
        self.ln(3)
        self.set_font(_FONT, "B", 11)
        self.cell(WIDTH, 7, self._printable(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(_FONT, size=9)

    def draw_paragraph(self, text: str, *, size: float = 9, bold: bool = False) -> None:
        """Draw a paragraph; `size` is the font size in points."""
        self.set_font(_FONT, "B" if bold else "", size)
        height = size * 0.5
        self.multi_cell(WIDTH, height, self._printable(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(_FONT, size=9)

    def draw_table(self, columns: Sequence[str], widths: Sequence[int], rows: Sequence[Sequence[str]]) -> None:
        """Draw a table whose header row is repeated on every page."""
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
                    line.cell(self._printable(cell))
        self.set_font(_FONT, size=9)
        self.ln(1)

    def draw_picture(self, jpeg: bytes, x: float, y: float, size: tuple[float, float]) -> None:
        """Draw a picture; position and size (width, height) in mm."""
        self.image(io.BytesIO(jpeg), x=x, y=y, w=size[0], h=size[1])

    def draw_missing_letters(self) -> None:
        """Draw which characters so far could not be printed, if any."""
        if not self._missing:
            return
        named = [f"U+{ord(letter):04X}" for letter in sorted(self._missing)]
        more = f" and {len(named) - _MOST_MISSING} more" if len(named) > _MOST_MISSING else ""
        self.draw_paragraph(
            f"Characters that the fonts of this server lack are printed as {_MISSING}: "
            f"{', '.join(named[:_MOST_MISSING])}{more}. Install a font that has them, such as Noto Sans CJK, and "
            "create the report again.",
            bold=True,
        )

    def to_bytes(self) -> bytes:
        """Return the finished PDF file."""
        return bytes(self.output())

    def _printable(self, text: str) -> str:
        """Replace characters that no font has; fpdf would write them to the log, and they may be part of a name."""
        plain = _CONTROLS.sub(" ", text)
        lacking = {letter for letter in plain if letter != "\n" and not self._has(letter)}
        for font in list_fallback_fonts() if lacking else ():
            if read_letters(font) & set(map(ord, lacking)):
                self._add_fallback(font)
                lacking = {letter for letter in lacking if not self._has(letter)}
        self._missing |= lacking
        return "".join(_MISSING if letter in lacking else letter for letter in plain)

    def _has(self, letter: str) -> bool:
        fonts = (self.fonts[name] for name in (_FONT.lower(), *self._added))
        return any(ord(letter) in font.cmap for font in fonts if isinstance(font, TTFFont))

    def _add_fallback(self, file: Path) -> None:
        """Add a font for letters that the others lack; one that cannot be embedded is left out."""
        name = f"fallback {len(self._added)}"
        try:
            self.add_font(name, "", file)
        except (OSError, ValueError, FPDFException, TTLibError):
            return
        self._added.append(name)
        self.set_fallback_fonts(self._added, exact_match=False)
