"""What the viewer sends back: the regions that were marked in the browser, checked before anything else sees them."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.reading_values import Region, RegionKind

_MOST_REGIONS = 200  # of one read


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
