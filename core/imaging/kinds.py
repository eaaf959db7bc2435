"""Recognise an image file by its first bytes, whatever its name says."""

import re
from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 132  # enough for every signature below; DICOM's is the last

Kind = Literal["image", "unsupported", "document"]

_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes; "BM" alone begins ordinary text
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
# Offset, signature, name. Formats that people try are recognised so that a refusal can name them.
_UNSUPPORTED = (
    (0, b"GIF8", "a GIF"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"II\xbc\x01", "a JPEG XR"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\0\0\x01\0", "an icon"),
    (128, b"DICM", "a DICOM file"),
    (0, b"ZISRAWFILE", "a Zeiss CZI slide"),
    (0, b"\xda\xce\xbe\x0a", "a Nikon ND2 file"),
    (0, b"v/1\x01", "an OpenEXR file"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"P7\nWIDTH", "a PAM"),
    (0, b"qoif", "a QOI picture"),
    (0, b"DDS ", "a DirectDraw surface"),
    (0, b"icns", "an icon"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"SIS\0", "an Olympus ETS slide"),
    (4, b"ftypcrx", "a raw picture of a Canon camera"),
    (0, b"FUJIFILMCCD-RAW", "a raw picture of a Fujifilm camera"),
)
# PBM, PGM and PPM, as text and packed: two numbers follow, maybe after comments.
_NETPBM = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d{1,6}\s+\d{1,6}\s")
_DOCUMENTS = (
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a ZIP archive or office document"),
    (0, b"\xd0\xcf\x11\xe0", "an old office document or a Zeiss ZVI slide"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Imaris writes"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"<", "a web page, XML or SVG"),
    (0, b"\xef\xbb\xbf<", "a web page, XML or SVG"),
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# What image files are called, the unsupported ones, raw pictures of cameras and whole slides included.
_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".mpo", ".tif", ".tiff", ".bmp", ".dib", ".webp"),
    *(".gif", ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jls", ".jxl"),
    *(".jxr", ".wdp", ".psd", ".xcf", ".ico", ".icns", ".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".tga", ".pcx", ".sgi"),
    *(".dds", ".qoi", ".exr", ".fits", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".raf", ".rw2", ".pef"),
    *(".dcm", ".dicom", ".svs", ".svslide", ".ndpi", ".mrxs", ".scn", ".czi", ".zvi", ".vsi", ".ets", ".oir", ".oib"),
    *(".oif", ".bif", ".qptiff", ".nd2", ".lif", ".lsm", ".ims", ".stk", ".btf", ".vms", ".isyntax", ".kfb", ".sdpc"),
)


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is by its content: an image that is read, a picture that is not supported, or a document."""

    kind: Kind
    name: str  # "PNG"; of what is not read, with its article: "a GIF"


def recognise(head: bytes) -> FileKind | None:
    """Return what a file is by its first `HEAD_BYTES` bytes or more; None if they are those of no known format."""
    if name := _supported(head):
        return FileKind("image", name)
    if _NETPBM.match(head):
        return FileKind("unsupported", "a PBM, PGM or PPM")
    if head[4:8] == b"ftyp" and head[8:12] != b"crx ":
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, 40, 4))}
        heif = not brands.isdisjoint(_HEIF_BRANDS)
        return FileKind("unsupported", "a HEIC or AVIF picture") if heif else FileKind("document", "a video")
    for offset, signature, name in _UNSUPPORTED:
        if head.startswith(signature, offset):
            return FileKind("unsupported", name)
    for offset, signature, name in _DOCUMENTS:
        if head.startswith(signature, offset):
            return FileKind("document", name)
    return None


def is_named_like_an_image(name: str) -> bool:
    """Return whether a file name ends as image files do, in capitals or not."""
    return name.lower().endswith(_SUFFIXES)


def _supported(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(_TIFF):
        return "TIFF"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    return None
