"""The scale that a file states is read, and nothing else is taken for one."""

import io
import struct
import zlib
from itertools import product

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.imaging.decode import DecodedImage, decode_image, read_scale
from core.imaging.demo import generate_tissue
from core.imaging.scale import Scale, is_plausible

_TISSUE = np.ascontiguousarray(generate_tissue(1, "benign", 64, 64)[:48])
_APERIO = "Aperio Image Library v10.0.51\r\n{}|AppMag = 40|StripeWidth = 2040|MPP = {}|Left = 25.6"


def tiff(**options: object) -> DecodedImage:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, _TISSUE, photometric="rgb", **({"metadata": None} | options))  # type: ignore[arg-type]
    decoded = decode_image(buffer.getvalue())
    assert np.array_equal(decoded.pixels, _TISSUE), "a statement of scale changes no pixel"
    assert read_scale(buffer.getvalue()) == decoded.scale
    return decoded


def saved(kind: str, **options: object) -> DecodedImage:
    buffer = io.BytesIO()
    Image.fromarray(_TISSUE).save(buffer, kind, **options)
    assert read_scale(buffer.getvalue()) == decode_image(buffer.getvalue()).scale
    return decode_image(buffer.getvalue())


def stated(decoded: DecodedImage) -> tuple[float, str] | None:
    return (round(decoded.scale.um_per_px, 4), decoded.scale.source) if decoded.scale else None


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}, 0.25),
        ({"resolution": (25_400 / 0.42, 25_400 / 0.42), "resolutionunit": "INCH"}, 0.42),
        ({"resolution": (2_000, 2_000), "resolutionunit": "CENTIMETER"}, 5.0),
        ({"resolution": (200_000, 200_000), "resolutionunit": "CENTIMETER"}, 0.05),
        ({"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER", "bigtiff": True, "byteorder": ">"}, 0.25),
    ],
)
def test_the_resolution_of_a_tiff_is_its_scale(options: dict[str, object], scale: float) -> None:
    assert stated(tiff(**options)) == (scale, "tiff")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (40_000, 40_000), "resolutionunit": "NONE"},  # a ratio, without a length
        *({"resolution": (dpi, dpi), "resolutionunit": "INCH"} for dpi in (1, 72, 96, 300, 600, 2_400)),
        {"resolution": (1_000, 1_000), "resolutionunit": "CENTIMETER"},  # 10 µm
        {"resolution": (500_000, 500_000), "resolutionunit": "CENTIMETER"},  # 0.02 µm
    ],
)
def test_a_resolution_for_screens_or_without_a_unit_is_no_scale(options: dict[str, object]) -> None:
    decoded = tiff(**options)
    assert (decoded.scale, decoded.notes) == (None, ())


@pytest.mark.parametrize("unit", ["micron", "um", "µm", "μm", "\\u00B5m", "mm", "nm", "cm", "inch"])
def test_imagej_states_a_unit_in_its_description(unit: str) -> None:
    length = {"mm": 1e3, "nm": 1e-3, "cm": 1e4, "inch": 25_400}.get(unit, 1)
    options: dict[str, object] = {"resolution": (length / 0.2, length / 0.2), "resolutionunit": "NONE"}
    description = f"ImageJ=1.53t\nunit={unit}\nloop=false\n".encode()
    decoded = tiff(extratags=[(270, 2, len(description), description, True)], **options)
    assert stated(decoded) == (0.2, "imagej")


def test_a_unit_in_latin_1_is_read() -> None:
    description = "ImageJ=1.40\nunit=µm\n".encode("latin-1")
    options: dict[str, object] = {"resolution": (5, 5), "resolutionunit": "NONE"}
    assert stated(tiff(extratags=[(270, 2, len(description), description, True)], **options)) == (0.2, "imagej")


@pytest.mark.parametrize(("resolution", "scale"), [((5, 0.005), (0.2, "imagej")), ((5, 5), None), ((5, 0.05), None)])
def test_imagej_may_state_another_unit_down_the_image(
    resolution: tuple[float, float], scale: tuple[float, str] | None
) -> None:
    description = "ImageJ=1.53t\nunit=um\nyunit=nm\n"
    assert stated(tiff(description=description, resolution=resolution, resolutionunit="NONE")) == scale


def test_what_imagej_itself_would_write_is_read() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, _TISSUE, imagej=True, resolution=(4.0, 4.0), metadata={"unit": "um", "axes": "YXS"})
    assert stated(decode_image(buffer.getvalue())) == (0.25, "imagej")


@pytest.mark.parametrize("unit", ["pixel", "arbitrary", "", "parsec"])
def test_a_unit_of_imagej_that_is_no_length_is_no_scale(unit: str) -> None:
    assert tiff(description=f"ImageJ=1.53t\nunit={unit}\n", resolution=(4, 4), resolutionunit="NONE").scale is None


@pytest.mark.parametrize(
    ("unit", "side"),
    [(None, 0.25), ("µm", 0.25), ("um", 0.25), ("nm", 250), ("mm", 0.00025), ("pm", 250_000), ("Å", 2500)],
)
def test_ome_xml_states_the_physical_size_of_a_pixel(unit: str | None, side: float) -> None:
    buffer = io.BytesIO()
    units = {} if unit is None else {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    metadata = {"axes": "YXS", "PhysicalSizeX": side, "PhysicalSizeY": side, **units}
    tifffile.imwrite(buffer, _TISSUE, photometric="rgb", ome=True, metadata=metadata, resolution=(300, 300))
    assert stated(decode_image(buffer.getvalue())) == (0.25, "ome")


@pytest.mark.parametrize(
    "attributes",
    [
        'SizeX="640" SizeY="480" PhysicalSizeX="0.25" PhysicalSizeY="0.25"',  # of another image of the slide
        'SizeX="64" SizeY="48" PhysicalSizeX="0.25" PhysicalSizeXUnit="pixel" PhysicalSizeY="0.25"',
        *(
            f'SizeX="64" SizeY="48" PhysicalSizeX="{x}" PhysicalSizeY="0.25"'
            for x in ("nan", "inf", "0", "-0.25", "1e-400", "0x1p-2", "9" * 400, "1_0", "")
        ),
    ],
)
def test_a_physical_size_that_means_nothing_is_no_scale(attributes: str) -> None:
    description = (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels {attributes}/></Image></OME>'
    )
    assert tiff(description=description).scale is None


@pytest.mark.parametrize(
    "description",
    [
        "<OME>" + "<a>" * 200_000,
        "<OME>" + "<a>" * 100_000 + "</a>" * 100_000 + "</OME>",
        '<!DOCTYPE x [<!ENTITY a "1234567890">]><OME><Image><Pixels SizeX="&a;"/></Image></OME>',
        "<OME " + "x" * 1_000_001,
        "<OME><Image><Pixels",
    ],
)
def test_a_deep_long_or_damaged_description_is_no_scale_and_stops_nothing(description: str) -> None:
    decoded = tiff(description=description, resolution=(40_000, 40_000), resolutionunit="CENTIMETER")
    assert stated(decoded) == (0.25, "tiff"), "what can be read counts"


@pytest.mark.parametrize(
    ("sizes", "factor"),
    [
        ("64x48 [0,0 64x48] (256x256) JPEG/RGB Q=30", 1),
        ("9000x8000 [0,100 64x48] (256x256) JPEG/RGB Q=30", 1),
        ("9000x8000 [0,100 128x96] (256x256) -> 64x48 - ", 2),
        ("128x96 -> 64x48 ", 2),
        ("no sizes here", 1),
    ],
)
def test_an_aperio_description_states_the_scale_of_the_scan(sizes: str, factor: float) -> None:
    assert stated(tiff(description=_APERIO.format(sizes, "0.2525"))) == (0.2525 * factor, "aperio")


@pytest.mark.parametrize(
    ("sizes", "um_per_px"),
    [
        ("9000x8000 [0,100 128x96] (256x256) JPEG", "0.25"),  # the scale of a page of another size
        ("128x96 -> 32x24 ", "0.25"),
        *(("64x48", text) for text in ("nan", "-0.25", "0", "inf", "1e999", "0,25", "9" * 30)),
    ],
)
def test_an_aperio_description_of_something_else_is_no_scale(sizes: str, um_per_px: str) -> None:
    assert tiff(description=_APERIO.format(sizes, um_per_px)).scale is None


def _fraction_tiff(across: tuple[int, int], down: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        _TISSUE,
        photometric="rgb",
        metadata=None,
        resolution=((7, 11), (7, 11)),
        resolutionunit="CENTIMETER",
    )
    data = bytearray(buffer.getvalue())
    at = data.index(struct.pack("<II", 7, 11))
    data[at : at + 8] = struct.pack("<II", *across)
    at = data.index(struct.pack("<II", 7, 11))
    data[at : at + 8] = struct.pack("<II", *down)
    return bytes(data)


_LARGEST = 2**32 - 1
_ODD = [(0, 0), (0, 1), (1, 0), (_LARGEST, 1), (1, _LARGEST), (_LARGEST, 0), (40_000, 0)]


@pytest.mark.parametrize(("across", "down"), list(product(_ODD, repeat=2)))
def test_a_resolution_of_odd_fractions_is_no_scale(across: tuple[int, int], down: tuple[int, int]) -> None:
    decoded = decode_image(_fraction_tiff(across, down))
    assert decoded.scale is None
    assert np.array_equal(decoded.pixels, _TISSUE)


def test_a_fraction_of_huge_numbers_that_means_something_is_read() -> None:
    fraction = (4_000_000_000, 100_000)
    assert decode_image(_fraction_tiff(fraction, fraction)).scale == Scale(0.25, "tiff")


@pytest.mark.parametrize(("down", "taken"), [(40_000, True), (40_700, True), (41_000, False), (80_000, False)])
def test_pixels_that_are_not_square_are_a_note_and_no_scale(down: int, taken: bool) -> None:
    decoded = tiff(resolution=(40_000, down), resolutionunit="CENTIMETER")
    assert (decoded.scale is not None) == taken
    assert [note for note in decoded.notes if "not square" in note] == ([] if taken else list(decoded.notes))
    assert bool(decoded.notes) != taken


@pytest.mark.parametrize(("per_metre", "scale"), [(5_000_000, 0.2), (2_380_952, 0.42), (20_000_000, 0.05)])
def test_a_png_states_its_pixels_per_metre(per_metre: int, scale: float) -> None:
    decoded = decode_image(_png(struct.pack(">IIB", per_metre, per_metre, 1)))
    assert stated(decoded) == (scale, "png")
    assert np.array_equal(decoded.pixels, _TISSUE)


@pytest.mark.parametrize(
    "density",
    [
        struct.pack(">IIB", 5_000_000, 5_000_000, 0),  # a ratio
        *(struct.pack(">IIB", round(dpi / 0.0254), round(dpi / 0.0254), 1) for dpi in (72, 96, 300)),
        struct.pack(">IIB", 0, 0, 1),
        struct.pack(">IIB", 2**32 - 1, 2**32 - 1, 1),
        b"",
        b"\0" * 8,
        b"\0" * 10,
    ],
)
def test_a_png_without_a_plausible_scale_has_none(density: bytes) -> None:
    assert decode_image(_png(density)).scale is None


def test_texts_of_a_png_are_no_scale() -> None:
    info = PngInfo()
    info.add_text("Description", "MPP = 0.25")
    assert saved("PNG", pnginfo=info).scale is None
    assert saved("PNG", dpi=(300, 300)).scale is None


def _png(density: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_TISSUE).save(buffer, "PNG")
    data, chunk = buffer.getvalue(), b"pHYs" + density
    return data[:33] + struct.pack(">I", len(density)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def test_a_jpeg_states_its_pixels_per_length() -> None:
    assert stated(saved("JPEG", dpi=(50_800, 50_800))) == (0.5, "jpeg")
    for dpi in (1, 72, 96, 300):
        assert saved("JPEG", dpi=(dpi, dpi)).scale is None
    assert saved("BMP").scale is None
    assert saved("WEBP").scale is None


def test_a_scale_is_plausible_or_none() -> None:
    assert is_plausible(0.05)
    assert is_plausible(5)
    assert Scale(1e4 / 200_000, "tiff").um_per_px == pytest.approx(0.05)
    for wrong in (0.0, -0.2, 0.049, 5.1, float("nan"), float("inf"), float("-inf"), 264.6):
        assert not is_plausible(wrong)
        with pytest.raises(ValueError, match="is not a plausible scale for a microscope image"):
            Scale(wrong, "typed")


@pytest.mark.parametrize("data", [b"", b"not an image", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a"])
def test_the_scale_of_what_cannot_be_read_is_unknown(data: bytes) -> None:
    assert read_scale(data) is None
