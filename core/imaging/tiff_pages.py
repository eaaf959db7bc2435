"""Choose the picture of a TIFF among its pages, previews, smaller copies, masks and channels.

The picture is the largest page in colour that is not marked as a smaller copy; a grey page counts only if none in
colour comes near its size, because beside a picture of tissue it is a mask or a map. Three grey pages are one colour
picture if the program that wrote them says which is red, green and blue; if it does not, no page is the picture, and
the file is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError
from core.imaging.tiff_channels import count_stated, read_channels
from core.imaging.tiff_tags import Directories, Tag, Tags, read_directories

_SMALLER_COPY, _MASK = 1, 4  # bits of the tag 254
_OLD_SMALLER_COPY = 2  # value of the tag 255
_MASK_COLOURS = 4  # photometric interpretation
_GREYS = (0, 1)
_PREVIEW = 4  # a page with less than a quarter of the pixels of another one may be its preview
_COMPOSED = "its grey pages were put together as red, green and blue"


@dataclass(frozen=True, slots=True)
class Picture:
    """The pages that make up the picture: one, or those of red, green and blue; `notes` say what was left out."""

    planes: tuple[Tags, ...]
    first: Tags  # the first page of the file, which may describe all of them
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Page:
    tags: Tags
    name: str  # "page 2"
    width: int
    height: int
    smaller: bool
    grey: bool

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def pixels(self) -> int:
        return self.width * self.height


def choose_picture(data: bytes) -> Picture:
    """Choose the picture of a TIFF.

    Raises:
        UnreadableImageError: If it has none, or if several pages may be the picture or part of it.
    """
    directories = read_directories(data)
    pages, broken = _describe(directories)
    whole = [page for page in pages if not page.smaller]
    if not whole:
        if broken:
            raise UnreadableImageError("the TIFF has only a preview; its picture is missing. Export it again.")
        largest = max(pages, key=lambda page: page.pixels)
        return Picture((largest.tags,), directories.pages[0], ("the file marks its only image as a smaller copy",))
    lost = _note_lost(directories, broken=broken)
    composite = _compose(directories, whole)
    if composite:
        return replace(composite, notes=(*composite.notes, *lost))
    chosen = _choose(whole)
    return Picture((chosen.tags,), directories.pages[0], (*_note_choice(chosen, whole, pages), *lost))


def _choose(whole: Sequence[_Page]) -> _Page:
    """Return the largest page, or of pages of like size the largest in colour."""
    largest = max(whole, key=lambda page: page.pixels)
    coloured = [page for page in whole if not page.grey and _PREVIEW * page.pixels >= largest.pixels]
    return max(coloured, key=lambda page: page.pixels, default=largest)


def _note_lost(directories: Directories, *, broken: bool) -> tuple[str, ...]:
    notes = ["a further page of the file is damaged and was left out"] if broken else []
    stated, listed = count_stated(directories.pages[0]), len(directories.pages)
    if stated > listed:
        notes.append(f"the file says that it holds {stated} pictures and lists {listed}; the others are not used")
    return tuple(notes)


def _describe(directories: Directories) -> tuple[list[_Page], bool]:
    """Return the pages that have a size, and whether any is damaged; masks are not pages."""
    named = [(f"page {number}", tags) for number, tags in enumerate(directories.pages, 1)]
    named += [("the inner picture", tags) for tags in directories.inner]
    pages, broken = [], directories.broken
    for name, tags in named:
        try:
            if not _is_mask(tags):
                pages.append(_page(name, tags))
        except UnreadableImageError:
            if tags is directories.pages[0]:
                raise
            broken = True
    if not pages:
        raise UnreadableImageError(f"the TIFF contains only a mask. {EXPORT_AGAIN}")
    return pages, broken


def _page(name: str, tags: Tags) -> _Page:
    marks = tags.number(Tag.SUBFILE_TYPE, 0)
    smaller = bool(marks & _SMALLER_COPY) or tags.number(Tag.OLD_SUBFILE_TYPE, 0) == _OLD_SMALLER_COPY
    grey = tags.number(Tag.SAMPLES, 1) == 1 and tags.number(Tag.PHOTOMETRIC, 2) in _GREYS
    return _Page(tags, name, tags.number(Tag.WIDTH), tags.number(Tag.HEIGHT), smaller, grey)


def _is_mask(tags: Tags) -> bool:
    return bool(tags.number(Tag.SUBFILE_TYPE, 0) & _MASK) or tags.number(Tag.PHOTOMETRIC, 0) == _MASK_COLOURS


def _note_choice(chosen: _Page, whole: Sequence[_Page], pages: Sequence[_Page]) -> tuple[str, ...]:
    """Return what to tell a reader who sees other pages in another program."""
    size = f"{chosen.width} x {chosen.height} pixels"
    if len(whole) > 1:
        if chosen is whole[0]:
            return (f"only the first of {len(whole)} pages is used",)
        largest = max(whole, key=lambda page: page.pixels)
        kind = "the largest" if chosen is largest else "the largest in colour"
        return (f"only {chosen.name} is used, {kind} of {len(whole)}: {size}",)
    if chosen is not pages[0]:
        return (f"{chosen.name} is used, {size}; {pages[0].name} is a smaller copy",)
    return ()


def _compose(directories: Directories, whole: Sequence[_Page]) -> Picture | None:
    """Return the picture that grey pages make up together; None if a page is a picture by itself."""
    chosen, first = _choose(whole), whole[0]
    if not chosen.grey:
        return None
    channels = read_channels(directories.pages[0]) if first.grey and first.tags is directories.pages[0] else None
    if channels is None:
        if sum(page.grey and page.size == chosen.size for page in whole) == 3:
            raise UnreadableImageError(
                "the TIFF has three grey pages and does not say whether they are the red, green and blue of one "
                f"picture. {EXPORT_AGAIN}"
            )
        return None
    if max(channels.pages) >= len(directories.pages):
        raise UnreadableImageError(
            f"the TIFF lists only {len(directories.pages)} of its {max(channels.pages) + 1} channels as pages. "
            f"{EXPORT_AGAIN}"
        )
    planes = tuple(directories.pages[index] for index in channels.pages)
    rest = len(directories.pages) - len(planes)
    unused = (f"only the first 3 of {rest + 3} pages are used",) if rest else ()
    return Picture(planes, directories.pages[0], (_COMPOSED, *unused))
