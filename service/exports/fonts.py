"""Fonts of this computer for letters that the font of reports lacks: Chinese, Japanese, Korean and rarer scripts."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError

FONT_FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    *("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
)
_KINDS = {".ttf", ".otf", ".ttc", ".otc"}
# Beginnings of the names of files, without blanks and in lower case; the fonts with the most letters first.
_NAMES = (
    *("notosanscjk", "sourcehansans", "notosanssc", "notosansjp", "notosanskr", "notosanstc", "arialunicode"),
    *("droidsansfallback", "wqy", "ipaexg", "ipag", "msyh", "yugoth", "msgothic", "malgun", "simsun"),
    *("pingfang", "hiraginosansgb", "applesdgothicneo", "unifont", "notosans-regular", "freesans", "symbola"),
)
_LIGHT_OR_BOLD = ("thin", "light", "medium", "bold", "black", "demilight", "italic", "oblique")


def list_fallback_fonts() -> Sequence[Path]:
    """Return the installed fonts to look into for missing letters, the most useful first."""
    return _find_fonts(FONT_FOLDERS)


@lru_cache(maxsize=32)
def read_letters(file: Path) -> frozenset[int]:
    """Return the code points for which a font has a glyph; none if it cannot be read."""
    try:
        with TTFont(file, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (OSError, TTLibError):
        return frozenset()


@lru_cache(maxsize=4)
def _find_fonts(folders: tuple[str, ...]) -> tuple[Path, ...]:
    ranked = [(_rank(file), file) for folder in folders for file in _walk(Path(folder).expanduser())]
    known = [(rank, _is_heavy(file), file) for rank, file in ranked if rank is not None]
    return tuple(file for _, _, file in sorted(known))


def _walk(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):  # skips what may not be read
        yield from (Path(where) / name for name in names if Path(name).suffix.lower() in _KINDS)


def _rank(file: Path) -> int | None:
    name = file.name.lower().replace(" ", "")
    return next((place for place, start in enumerate(_NAMES) if name.startswith(start)), None)


def _is_heavy(file: Path) -> bool:
    return any(word in file.name.lower() for word in _LIGHT_OR_BOLD)
