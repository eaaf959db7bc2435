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
        (b"SIS\0" + bytes(60), "unsupported", "an Olympus ETS slide"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "unsupported", "a raw picture of a Canon camera"),
        (b"P6\n640 480\n255\n", "unsupported", "a PBM, PGM or PPM"),
        (b"P2 # by hand\n640 480 255 1", "unsupported", "a PBM, PGM or PPM"),
        (b"P5\r\n640\r\n480\r\n255\r\n", "unsupported", "a PBM, PGM or PPM"),
        (b"P7\nWIDTH 4\n", "unsupported", "a PAM"),
        (b"qoif" + bytes(10), "unsupported", "a QOI picture"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document", "an old office document or a Zeiss ZVI slide"),
        (b"\x89HDF\r\n\x1a\n", "document", "an HDF5 file, as Imaris writes"),
        (b"%PDF-1.7", "document", "a PDF"),
        (b"<svg>", "document", "a web page, XML or SVG"),
    ],
)
def test_what_is_not_read_is_named(head: bytes, kind: str, words: str) -> None:
    found = recognise(head)
    assert found is not None
    assert (found.kind, found.name) == (kind, words)


@pytest.mark.parametrize(
    "head", [b"", b"\xff", b"BMW is a make of car", b"name,label\n", b"P1 23 is the patient", b"P6\n", bytes(200)]
)
def test_other_bytes_are_of_no_known_kind(head: bytes) -> None:
    assert recognise(head) is None


def test_names_of_images_are_told_in_capitals_and_not() -> None:
    assert all(map(is_named_like_an_image, ("a.TIF", "b.jfif", "c.HEIC", "d.svs", "e.JPE", "f.Dng", "g.zvi", "h.TGA")))
    assert not any(map(is_named_like_an_image, ("notes.txt", "README", "png", "table.csv")))
