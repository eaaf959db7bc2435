"""A file is what its first bytes are, not what its name says."""

import pytest
from PIL import Image

from core.imaging.kinds import FileKind, is_named_like_an_image, recognise
from tests.helpers.images.odd_modes import ODD_MODES, saved, smooth_colours


@pytest.mark.parametrize("mode", list(ODD_MODES))
def test_every_mode_that_is_read_is_recognised(mode: str) -> None:
    assert recognise(ODD_MODES[mode]()[0][:200]) == FileKind("image", mode.split(maxsplit=1)[0])


@pytest.mark.parametrize(
    ("head", "kind", "words"),
    [
        (saved(Image.fromarray(smooth_colours()), "GIF"), "unsupported", "a GIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported", "a HEIC or AVIF picture"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "document", "a video"),
        (bytes(128) + b"DICM", "unsupported", "a DICOM file"),
        (b"ZISRAWFILE", "unsupported", "a Zeiss CZI slide"),
        (b"%PDF-1.7", "document", "a PDF"),
        (b"<svg>", "document", "a web page, XML or SVG"),
    ],
)
def test_what_is_not_read_is_named(head: bytes, kind: str, words: str) -> None:
    found = recognise(head)
    assert found is not None
    assert (found.kind, found.name) == (kind, words)


@pytest.mark.parametrize("head", [b"", b"\xff", b"BMW is a make of car", b"name,label\n", bytes(200)])
def test_other_bytes_are_of_no_known_kind(head: bytes) -> None:
    assert recognise(head) is None


def test_names_of_images_are_told_in_capitals_and_not() -> None:
    assert all(map(is_named_like_an_image, ("a.TIF", "b.jfif", "c.HEIC", "d.svs", "e.JPE")))
    assert not any(map(is_named_like_an_image, ("notes.txt", "README", "png", "table.csv")))
