"""How the samples of one picture of a TIFF are laid out, and which layouts are read.

Code numbers are those of TIFF 6.0, its supplements and libtiff's tiff.h.
"""

from dataclasses import dataclass

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError, check_size, check_work
from core.imaging.tiff_tags import Tag, Tags

PLAIN, LZW, JPEG, DEFLATE, PACKBITS, LZMA, JPEG_2000, ZSTD, WEBP = 1, 5, 7, 8, 32773, 34925, 34712, 50000, 50001
_OLD_DEFLATE = 32946
_READ = (PLAIN, LZW, JPEG, DEFLATE, PACKBITS, LZMA, JPEG_2000, ZSTD, WEBP)
_WHOLE_PICTURES = (JPEG, JPEG_2000, WEBP)  # each strip or tile is a picture by itself, without a predictor
_NOT_READ = {
    2: "CCITT Huffman coding",
    3: "CCITT fax (group 3)",
    4: "CCITT fax (group 4)",
    6: "the old form of JPEG",
    9: "JBIG",
    10: "JBIG",
    22610: "JPEG XR",
    32766: "NeXT coding",
    32771: "CCITT Huffman coding",
    32809: "ThunderScan coding",
    32908: "PixarFilm coding",
    32909: "Pixar log coding",
    33003: "JPEG 2000 with YCbCr colours (Aperio)",
    33004: "JPEG 2000 without loss (Aperio)",
    33005: "JPEG 2000 (Aperio)",
    34661: "JBIG",
    34676: "SGI log coding",
    34677: "SGI log coding",
    34713: "Nikon raw coding",
    34718: "JBIG2",
    34887: "LERC",
    34892: "JPEG with loss as in DNG",
    34934: "JPEG XR",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_COLOURS_NOT_READ = {32803: "raw data of a camera", 34892: "raw data of a camera", 32844: "LogL", 32845: "LogLuv"}

_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
_MAX_SEGMENTS = 100_000  # 100 megapixels in the usual 256-pixel tiles have 1,600
_MAX_BAND = 320_000_000  # bytes decoded at once; 100 megapixels of 8-bit RGB in a single strip still fit
_MAX_UNPACKED = 401_000_000  # bytes; 100 megapixels of 8-bit RGB with transparency
_UNKNOWN_WHITE = "the TIFF stores {} instead of 8-bit colours, so the white level is unknown."


@dataclass(frozen=True, slots=True)
class Layout:
    """The properties of one picture that decide its pixels."""

    width: int
    height: int
    bits: int
    white_bits: int  # bits of the largest value, if the file states that it is less than `bits` can hold
    samples: int
    photometric: int
    compression: int
    predictor: int
    planar: bool
    big_endian: bool
    segment_width: int
    segment_height: int
    tiled: bool
    extra_samples: tuple[int, ...]
    orientation: int

    @property
    def across(self) -> int:
        """Number of segments side by side."""
        return -(-self.width // self.segment_width)

    @property
    def down(self) -> int:
        """Number of segments on top of each other."""
        return -(-self.height // self.segment_height)

    @property
    def segments(self) -> int:
        """Number of strips or tiles."""
        return self.across * self.down * (self.samples if self.planar else 1)

    @property
    def channels(self) -> int:
        """Number of samples that a segment holds of one pixel."""
        return 1 if self.planar else self.samples

    def rows(self, row: int) -> int:
        """Return the number of rows that the segments of this row hold: tiles are padded, strips are not."""
        if self.tiled:
            return self.segment_height
        return min(self.segment_height, self.height - row * self.segment_height)

    def packed_bytes(self, rows: int) -> int:
        """Return the bytes of so many rows of a segment before compression."""
        return rows * -(-self.segment_width * self.channels * self.bits // 8)


def read_layout(tags: Tags, file_bytes: int) -> Layout:
    """Read how the picture is laid out.

    Raises:
        UnreadableImageError: If it is beyond the limits, or of an unsupported kind.
    """
    width, height = tags.number(Tag.WIDTH), tags.number(Tag.HEIGHT)
    check_size(width, height)
    bits, tiled = set(tags.numbers(Tag.BITS) or (1,)), bool(tags.numbers(Tag.TILE_WIDTH))
    compression = tags.number(Tag.COMPRESSION, PLAIN)
    layout = Layout(
        width=width,
        height=height,
        bits=max(bits),
        white_bits=_stated_bits(tags) or max(bits),
        samples=tags.number(Tag.SAMPLES, 1),
        photometric=tags.number(Tag.PHOTOMETRIC),
        compression=DEFLATE if compression == _OLD_DEFLATE else compression,
        predictor=1 if compression in _WHOLE_PICTURES else tags.number(Tag.PREDICTOR, 1),
        planar=tags.number(Tag.PLANAR, 1) == 2 and tags.number(Tag.SAMPLES, 1) > 1,
        big_endian=tags.order == ">",
        segment_width=tags.number(Tag.TILE_WIDTH) if tiled else width,
        segment_height=tags.number(Tag.TILE_HEIGHT) if tiled else min(tags.number(Tag.ROWS_PER_STRIP, height), height),
        tiled=tiled,
        extra_samples=tags.numbers(Tag.EXTRA_SAMPLES),
        orientation=tags.number(Tag.ORIENTATION, 1),
    )
    _check_kind(tags, layout, bits)
    _check_cost(layout, file_bytes)
    return layout


def _stated_bits(tags: Tags) -> int | None:
    """Return the bits of the largest sample of a 16-bit picture if the file states a white of 9 to 15 bits.

    The tag may also hold the largest sample that happens to occur, which is hardly ever such a number.
    """
    largest = set(tags.numbers(Tag.LARGEST_SAMPLE))
    if len(largest) != 1 or set(tags.numbers(Tag.BITS)) != {16}:
        return None
    (white,) = largest
    return white.bit_length() if white.bit_length() in range(9, 16) and white & (white + 1) == 0 else None


def _check_kind(tags: Tags, layout: Layout, bits: set[int]) -> None:
    reason = _find_unread_packing(tags, layout) or _find_unread_colours(tags, layout, bits)
    if reason:
        raise UnreadableImageError(f"{reason} {EXPORT_AGAIN}")


def _find_unread_packing(tags: Tags, layout: Layout) -> str:
    if layout.compression not in _READ:
        method = _NOT_READ.get(layout.compression, f"method number {layout.compression}")
        return f"the TIFF is compressed with {method}, which is not supported."
    if layout.predictor not in (1, 2) or (layout.predictor == 2 and layout.bits not in (8, 16)):
        kind = "that for floating-point numbers" if layout.predictor == 3 else f"number {layout.predictor}"
        return f"the TIFF uses an unsupported predictor ({kind})."
    if tags.number(Tag.FILL_ORDER, 1) != 1:
        return "the TIFF stores its bits in reverse order, which is not supported."
    if layout.compression in (JPEG, WEBP) and layout.bits != 8:
        return f"the TIFF contains JPEG or WebP data of {layout.bits} bits instead of 8."
    if layout.compression == JPEG_2000 and layout.bits not in (8, 16):
        return f"the TIFF contains JPEG 2000 data of {layout.bits} bits instead of 8 or 16."
    return ""


def _find_unread_colours(tags: Tags, layout: Layout, bits: set[int]) -> str:
    if layout.photometric in _COLOURS_NOT_READ:
        return f"the TIFF stores {_COLOURS_NOT_READ[layout.photometric]}, which is not supported."
    if set(tags.numbers(Tag.SAMPLE_FORMAT)) - {1, 4}:
        return _UNKNOWN_WHITE.format("signed or floating-point numbers")
    if len(bits) != 1 or layout.bits not in _BITS:
        return _UNKNOWN_WHITE.format(f"numbers of {' and '.join(map(str, sorted(bits)))} bits")
    if layout.photometric == 6 and (layout.compression != JPEG or layout.planar):
        how = "with each channel apart" if layout.compression == JPEG else "without JPEG compression"
        return f"the TIFF uses YCbCr colours {how}, which is not supported."
    if layout.photometric == 5 and tags.number(Tag.INK_SET, 1) != 1:
        return "the TIFF uses inks other than cyan, magenta, yellow and black."
    return ""


def _check_cost(layout: Layout, file_bytes: int) -> None:
    if layout.segment_width < 1 or layout.segment_height < 1 or not 1 <= layout.samples <= 5:
        raise UnreadableImageError(f"the TIFF is damaged, or has too many channels. {EXPORT_AGAIN}")
    size = layout.samples * (2 if layout.bits > 8 else 1)
    band = layout.segment_width * layout.across * layout.segment_height * size
    unpacked = layout.width * layout.height * size
    if layout.segments > _MAX_SEGMENTS or band > _MAX_BAND or unpacked > _MAX_UNPACKED:
        raise UnreadableImageError(
            f"the TIFF is too large when unpacked, or has too many strips or tiles. {EXPORT_AGAIN}"
        )
    # Tiles are padded: what is decoded may be far more than what is shown.
    check_work(max(band * layout.down, 3 * layout.width * layout.height), file_bytes)
