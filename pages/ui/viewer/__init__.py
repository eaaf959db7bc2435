"""The zooming viewer: the images of a case, what a reader marks on them, and after the reveal the evidence.

OpenSeadragon does the zooming. Images, heat maps and OpenSeadragon itself come from our own routes: they pass the gate,
and they are there in a hospital network without a CDN. Keys, anywhere on the page except where one is typing: 0 fits
the image, Z shows it at 100 % (not 1: the digits 1 to 5 are the reader's confidence), + and - zoom, left and right
switch the image, H the heat map, [ and ] its opacity, K its contour. P, T and F mark a point, a box or a free shape,
E goes to the note of the last mark, Ctrl+Z takes the last change of the marks back. While marking, the arrows move the
tissue, Space and Enter mark at the cross in the middle, and Escape leaves.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from db.values.reading import Region, RegionKind

_MOST_REGIONS = 200  # of one read

_HERE = Path(__file__).parent

VENDOR = _HERE / "vendor"


@dataclass(frozen=True, slots=True)
class Marked:
    """All that is marked now on the images of a case, for one form."""

    form: str
    regions: tuple[Region, ...]


def marked(value: object) -> Marked | None:
    """Read what came from the browser; None if nothing has yet.

    Raises:
        ValueError: If it is nothing that our viewer sends.
    """
    if value is None:
        return None
    form, regions = _field(value, "form"), _field(value, "regions")
    if not isinstance(form, str) or not isinstance(regions, list):
        raise ValueError("marks have a form and a list of regions")
    if len(regions) > _MOST_REGIONS:
        raise ValueError(f"one read has at most {_MOST_REGIONS} marks, got {len(regions)}: delete some")
    return Marked(form, tuple(_region(region) for region in regions))


def _region(value: object) -> Region:
    image_id, kind, note = _field(value, "image_id"), _field(value, "kind"), _field(value, "note")
    points = _field(value, "points")
    if not isinstance(image_id, int) or not isinstance(kind, str):
        raise ValueError(f"no region: {value!r}")
    if not isinstance(note, str) or not isinstance(points, list):
        raise ValueError(f"no region: {value!r}")
    return Region(image_id, RegionKind(kind), tuple(_point(point) for point in points), note)


def _point(value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(c, int | float) for c in value):
        raise ValueError(f"a point is (x, y), got {value!r}")
    return float(value[0]), float(value[1])


def _field(value: object, name: str) -> object:
    if not isinstance(value, Mapping) or name not in value:
        raise ValueError(f"no {name} in {value!r}")
    found: object = value[name]
    return found


"""The folder that our own routes serve under `/assets`."""

LIBRARY = "/assets/openseadragon-5.0.1.min.js"
"""Where OpenSeadragon is served from `VENDOR`, once per page load and not with every rerun."""

_SCRIPTS = ("load.js", "heatmap.js", "kept.js", "shapes.js", "marks.js", "marklist.js", "viewer.js", "keys.js")

_mount = st.components.v2.component(
    "second_read_viewer",
    html=(_HERE / "viewer.html").read_text(encoding="utf-8"),
    css=(_HERE / "viewer.css").read_text(encoding="utf-8"),
    js="\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS),
    # OpenSeadragon listens on the document, where a shadow root would hide from it what was touched.
    isolate_styles=False,
)


@dataclass(frozen=True, slots=True)
class HeatmapLayer:
    """Evidence to paint over one image: an 8-bit grey PNG whose 0..255 span `low`..`high` logits.

    The map may be smaller than its image and is stretched onto it.
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
    """One image of the case: where it is served, its size in pixels, its words, and its evidence if it may be seen.

    `label` names it among its neighbours ("image 2 of 4"); `caption` holds words on its quality.
    """

    image_id: int
    image_url: str
    thumbnail_url: str
    width: int
    height: int
    label: str
    caption: str = ""
    heatmap: HeatmapLayer | None = None

    def __post_init__(self) -> None:
        _check_own_route(self.image_url)
        _check_own_route(self.thumbnail_url)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one reader has marked on the images of a case; while `form` is open they may go on marking.

    The browser keeps what is marked in an editable sheet until it is saved, under the names of `owner` (the account)
    and `form`; `session` is the run of the server that this browser tab talks to. `overtaken` are forms of the case
    that another window saved: what this tab still has of them is put into the open one.
    """

    form: str
    regions: tuple[Region, ...]
    editable: bool
    owner: int
    session: str
    overtaken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OthersMarks:
    """What another reader marked; `name` is what they are called on the screen ("reader 2")."""

    name: str
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """What is painted over the images beside the evidence: one's own marks, and those of others where they may be seen.

    `on_marked` hears of every change of an editable sheet.
    """

    sheet: Sheet | None = None
    others: tuple[OthersMarks, ...] = ()
    on_marked: Callable[[Marked], None] | None = None


def view_image(images: Sequence[ViewedImage], *, key: str, height: int = 560, scene: Scene | None = None) -> None:
    """Show the images of a case with zoom, thumbnails, marks and, where given, the evidence.

    The reader's place (image, zoom, map on or off) survives reruns as long as `key` stays the same, so let it name the
    case. An image with `heatmap=None` sends nothing of the model to the browser.

    Args:
        images: The images of the case, in order; at least one.
        key: Names this viewer among the elements of the page.
        height: Least height of the whole viewer with its tools, in CSS pixels.
        scene: What is marked on the images; without it nothing is, and nothing can be.

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
    }
    hears = scene.on_marked

    def changed() -> None:
        value = marked(st.session_state[key].get("marks"))
        if hears is not None and value is not None:
            hears(value)

    _mount(key=key, data=data, on_marks_change=changed)


def _check_own_route(url: str) -> None:
    if not url.startswith("/") or url.startswith("//"):
        message = f"{url} is not a route of this app: images come from our own address only"
        raise ValueError(message)
