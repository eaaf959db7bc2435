"""Images that carry words about a person wherever a file can carry words: for tests that nothing of them is kept."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from core.imaging.demo import generate_tissue
from core.results import RgbImage

Word = Callable[[str], str]  # gives a new telltale word for a place, and remembers it

_XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:creator>{}</dc:creator></x:xmpmeta>'
# Tags of EXIF that take a text: description, maker, model, program, artist, copyright, serial number of the body.
_EXIF_TEXTS = (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298)
_EXIF_WIDE = (0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F)  # title, comment, author, keywords and subject as Windows writes
_COMMENT, _MAKER_NOTE, _OWNER, _SERIAL = 0x9286, 0x927C, 0xA430, 0xA431


def images_about_people(seed: int, word: Word) -> Iterator[tuple[str, bytes]]:
    """Give named files: a JPEG, a PNG, a TIFF and a WebP that can be read, and a damaged one of each."""
    makers = {"jpg": _jpeg, "png": _png, "tif": _tiff, "webp": _webp}
    for place, (ending, make) in enumerate(makers.items()):
        pixels = generate_tissue(100 * seed + place, "benign", 260, 320)
        yield f"{word('name')}.{ending}", make(pixels, word) + word("behind the end").encode()
        yield f"{word('name of a damaged file')}.{ending}", make(pixels, word)[:-4000]


def _jpeg(pixels: RgbImage, word: Word) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(
        out,
        "JPEG",
        exif=_exif(word),
        comment=word("comment").encode(),
        icc_profile=_profile(word),
        xmp=_XMP.format(word("XMP")).encode(),
    )
    return out.getvalue()


def _png(pixels: RgbImage, word: Word) -> bytes:
    out, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("Patient", word("text chunk"))
    info.add_text("Comment", word("compressed text chunk"), zip=True)
    info.add_itxt("Author", word("international text chunk"), zip=False)
    info.add_itxt("XML:com.adobe.xmp", _XMP.format(word("XMP")))
    info.add(b"prVt", word("private chunk").encode())
    Image.fromarray(pixels).save(out, "PNG", pnginfo=info, exif=_exif(word), icc_profile=_profile(word))
    return out.getvalue()


def _webp(pixels: RgbImage, word: Word) -> bytes:
    out = io.BytesIO()
    xmp = _XMP.format(word("XMP")).encode()
    Image.fromarray(pixels).save(out, "WEBP", exif=_exif(word), xmp=xmp, icc_profile=_profile(word), lossless=True)
    return out.getvalue()


def _tiff(pixels: RgbImage, word: Word) -> bytes:
    out = io.BytesIO()
    texts = {tag: word(f"tag {tag}") for tag in (269, 271, 272, 285, 315, 316, 337, 33432, 65000)}
    tags = [(tag, 2, 0, text, True) for tag, text in texts.items()]
    tifffile.imwrite(
        out,
        np.asarray(pixels),
        photometric="rgb",
        description=word("description"),
        software=word("software"),
        metadata=None,
        iccprofile=_profile(word),
        extratags=[*tags, (700, 1, None, _XMP.format(word("XMP")).encode(), True)],
    )
    return out.getvalue()


def _exif(word: Word) -> bytes:
    exif = Image.Exif()
    for tag in _EXIF_TEXTS:
        exif[tag] = word(f"EXIF {tag:#x}")
    for tag in _EXIF_WIDE:
        exif[tag] = (word(f"EXIF {tag:#x}") + "\0").encode("utf-16-le")
    inner = exif.get_ifd(0x8769)
    inner[_COMMENT] = b"ASCII\0\0\0" + word("EXIF user comment").encode()
    inner[_MAKER_NOTE] = word("EXIF maker note").encode()
    inner[_OWNER], inner[_SERIAL] = word("EXIF owner"), word("EXIF serial number")
    return exif.tobytes()


def _profile(word: Word) -> bytes:
    """Give a colour profile of sRGB with a word for its description."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = struct.unpack(">I", data[128:132])[0]
    tags = [struct.unpack(">4sII", data[132 + 12 * n : 144 + 12 * n]) for n in range(count)]
    text = word("colour profile").encode() + b"\0"
    body = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    body += bytes(-len(body) % 4)
    start = len(data)
    table = b"".join(
        struct.pack(">4sII", name, *((start, len(body)) if name == b"desc" else (offset, size)))
        for name, offset, size in tags
    )
    whole = data[:132] + table + data[132 + 12 * count :] + body
    return struct.pack(">I", len(whole)) + whole[4:]


def unpacked(data: bytes) -> Iterator[bytes]:
    """Give some bytes, and whatever in them zlib can unpack: chunks of PNG, strips of TIFF, streams of PDF."""
    yield data
    at = data.find(b"\x78")
    while at >= 0:
        try:
            found = zlib.decompressobj().decompress(data[at:], 1 << 22)
        except zlib.error:
            found = b""
        if len(found) > 16:
            yield found
        at = data.find(b"\x78", at + 1)
