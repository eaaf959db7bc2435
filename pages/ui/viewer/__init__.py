"""The zooming viewer: the images of a case, the reader's marks, and the evidence after the reveal.

OpenSeadragon does the zooming. Images, heat maps and OpenSeadragon itself come from our own routes, because they must
pass the gate and be available in a hospital network without a CDN. Keys work anywhere on the page except in a text
field: 0 fits the image, Z shows it at 100% (not 1: the digits 1 to 5 are the reader's confidence), + and - zoom, left
and right switch the image, H switches the heat map, [ and ] change its opacity, K switches its contour, J shows where
the image is unlike the training images. P, T and F mark a point, a box or a shape, L measures a length, E goes to the
note on the last mark, Ctrl+Z undoes the last change to the marks. While marking, the arrows move the tissue, Space and
Enter mark at the cross in the middle, Escape cancels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from db.values.reading import Region, RegionKind
from pages.ui import formatting

_MOST_REGIONS = 200  # of one read
_REFUSED = "The last change to the marks was refused: {why}. Reload the page to see the marks that will be saved."
_NO_SCALE = "The scale was not set: {why}."
_LONGEST_REASON = 200  # characters
_HERE = Path(__file__).parent
_SCRIPTS = (
    *("load.js", "heatmap.js", "maps.js", "kept.js", "lengths.js", "shapes.js", "pinch.js"),
    *("marks.js", "marklist.js", "viewer.js", "keys.js"),
)

VENDOR = _HERE / "vendor"
"""The folder that our own routes serve under `/assets`."""

LIBRARY = "/assets/openseadragon-5.0.1.min.js"
"""Where OpenSeadragon is served from `VENDOR`; it is loaded once per page load, not with every rerun."""

_mount = st.components.v2.component(
    "second_read_viewer",
    html=(_HERE / "viewer.html").read_text(encoding="utf-8"),
    css=(_HERE / "viewer.css").read_text(encoding="utf-8"),
    js="\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS),
    # OpenSeadragon listens on the document, where a shadow root would hide the target of an event.
    isolate_styles=False,
)


@dataclass(frozen=True, slots=True)
class HeatmapLayer:
    """Evidence to paint over one image: an 8-bit grey PNG whose values 0..255 span `low`..`high` logits.

    The map may be smaller than its image; it is stretched over it.
    """

    url: str
    low: float
    high: float

    def __post_init__(self) -> None:
        _check_own_route(self.url)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            message = f"a heat map cannot span {self.low} to {self.high} logits"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class ViewedImage:
    """One image of the case: its addresses, its size in pixels, its texts, and its maps if they may be shown.

    `label` names it among the images of the case ("Image 2 of 4"); `caption` describes its quality. Without `um_per_px`
    its scale is unknown; `scale_words` say where it comes from. `scope_map_url` is a grey PNG of where it is unlike the
    training images, bright where it is least like them.
    """

    image_id: int
    image_url: str
    thumbnail_url: str
    width: int
    height: int
    label: str
    caption: str = ""
    heatmap: HeatmapLayer | None = None
    scope_map_url: str | None = None
    um_per_px: float | None = None
    scale_words: str = ""
    scale_is_measured: bool = False  # with the ruler

    def __post_init__(self) -> None:
        _check_own_route(self.image_url)
        _check_own_route(self.thumbnail_url)
        if self.scope_map_url is not None:
            _check_own_route(self.scope_map_url)


@dataclass(frozen=True, slots=True)
class MarkSheet:
    """The marks of one reader on the images of a case; they can be changed while the sheet is `editable`.

    The browser stores the marks of an editable sheet until they are saved, under `owner` (the account) and `form`;
    `session` is the server session of this browser tab. `overtaken` are forms of the case that another window has
    saved: unsaved marks of theirs in this tab are added to the open form.
    """

    form: str
    regions: tuple[Region, ...]
    editable: bool
    owner: int
    session: str
    overtaken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OthersMarks:
    """The marks of another reader, who is called `name` on the screen ("Reader B")."""

    name: str
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class FormMarks:
    """The current marks of one form on the images of a case."""

    form: str
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class KnownLength:
    """What a reader says of a line on an image: it is so many pixels and so many micrometres long."""

    image_id: int
    pixels: float
    um: float

    def __post_init__(self) -> None:
        if not (0 < self.pixels < math.inf and 0 < self.um < math.inf):
            raise ValueError(f"a length must be positive, got {self.pixels} px and {self.um} µm")

    @property
    def um_per_px(self) -> float:
        """The scale that follows."""
        return self.um / self.pixels


@dataclass(frozen=True, slots=True)
class Scene:
    """The marks painted over the images: the reader's own, and those of others if they may be shown.

    `on_marked` is called after every change to an editable sheet, `on_scaled` when the reader says how long a line is;
    without it the scale of an image cannot be set.
    """

    sheet: MarkSheet | None = None
    others: tuple[OthersMarks, ...] = ()
    on_marked: Callable[[FormMarks], None] | None = None
    on_scaled: Callable[[KnownLength], None] | None = None


def draw_viewer(images: Sequence[ViewedImage], *, key: str, height: int = 560, scene: Scene | None = None) -> None:
    """Draw the images of a case with zoom, thumbnails, marks and, if given, the maps of the model.

    The reader's view (image, zoom, map on or off) survives reruns as long as `key` stays the same, so the key should
    name the case. For an image without maps nothing of the model is sent to the browser.

    Args:
        images: The images of the case, in order; at least one.
        key: Names this viewer among the elements of the page.
        height: Minimum height of the viewer with its tools, in CSS pixels.
        scene: The marks on the images; without it nothing can be marked.

    Raises:
        ValueError: If there is no image.
    """
    if not images:
        message = "a viewer needs at least one image"
        raise ValueError(message)
    scene = scene or Scene()
    data = {
        "key": key,
        "height": height,
        "library": LIBRARY,
        "images": [asdict(image) for image in images],
        "sheet": asdict(scene.sheet) if scene.sheet else None,
        "others": [asdict(other) for other in scene.others],
        "can_set_scale": scene.on_scaled is not None,
    }
    on_marked, on_scaled = scene.on_marked, scene.on_scaled

    def report_marks() -> None:
        try:
            marks = parse_marks(st.session_state[key].get("marks"))
        except ValueError as error:
            # The marks before it stay, and so does the page.
            st.toast(_REFUSED.format(why=formatting.escape(str(error)[:_LONGEST_REASON])), duration="long")
            return
        if on_marked is not None and marks is not None:
            on_marked(marks)

    def report_scale() -> None:
        try:
            known = parse_known_length(st.session_state[key].get("scale"))
        except ValueError as error:
            st.toast(_NO_SCALE.format(why=formatting.escape(str(error)[:_LONGEST_REASON])), duration="long")
            return
        if on_scaled is not None and known is not None:
            on_scaled(known)

    _mount(key=key, data=data, on_marks_change=report_marks, on_scale_change=report_scale)


def parse_marks(value: object) -> FormMarks | None:
    """Parse what the browser sent; return None if it has sent nothing yet.

    Raises:
        ValueError: If our viewer could not have sent it.
    """
    if value is None:
        return None
    form, regions = _get_field(value, "form"), _get_field(value, "regions")
    if not isinstance(form, str) or not isinstance(regions, list):
        raise ValueError("marks need a form and a list of regions")
    if len(regions) > _MOST_REGIONS:
        raise ValueError(f"one read can have at most {_MOST_REGIONS} marks, got {len(regions)}: delete some")
    return FormMarks(form, tuple(_parse_region(region) for region in regions))


def parse_known_length(value: object) -> KnownLength | None:
    """Parse what the browser sent of a line whose length is known; return None if it has sent nothing.

    Raises:
        ValueError: If our viewer could not have sent it.
    """
    if value is None:
        return None
    image_id, pixels, um = (_get_field(value, name) for name in ("image_id", "pixels", "um"))
    if not isinstance(image_id, int) or not isinstance(pixels, int | float) or not isinstance(um, int | float):
        raise ValueError(f"not a known length: {value!r}")
    return KnownLength(image_id, float(pixels), float(um))


def _parse_region(value: object) -> Region:
    image_id, kind, note = _get_field(value, "image_id"), _get_field(value, "kind"), _get_field(value, "note")
    points = _get_field(value, "points")
    if not isinstance(image_id, int) or not isinstance(kind, str):
        raise ValueError(f"not a region: {value!r}")
    if not isinstance(note, str) or not isinstance(points, list):
        raise ValueError(f"not a region: {value!r}")
    return Region(image_id, RegionKind(kind), tuple(_parse_point(point) for point in points), note)


def _parse_point(value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(c, int | float) for c in value):
        raise ValueError(f"a point is (x, y), got {value!r}")
    return float(value[0]), float(value[1])


def _get_field(value: object, name: str) -> object:
    if not isinstance(value, Mapping) or name not in value:
        raise ValueError(f"no {name} in {value!r}")
    content: object = value[name]
    return content


def _check_own_route(url: str) -> None:
    if not url.startswith("/") or url.startswith("//"):
        message = f"{url} is not a route of this app: images must come from our own address"
        raise ValueError(message)
