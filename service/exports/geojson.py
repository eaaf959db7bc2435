"""Marked regions and measured lengths, as one GeoJSON file per image, in pixels from its top left corner.

QuPath loads them onto an image of the same size (File, Import objects).
"""

import json
from collections.abc import Iterable

from db.values.exports import ExportedCase, ExportedRead, ReadsExport
from db.values.reading import Region, RegionKind


def write_region_files(export: ReadsExport) -> list[tuple[str, bytes]]:
    """Return the file name and content for each image with at least one marked region."""
    marked: dict[tuple[int, int], list[tuple[ExportedRead, Region]]] = {}
    for one in export.reads:
        for region in one.read.opinion.regions:
            marked.setdefault((one.case_number, region.image_id), []).append((one, region))
    positions = {image.id: image.position for case in export.cases for image in case.images}
    return [
        (f"case-{case}-image-{positions[image]}.geojson", _collection(export.case(case), positions[image], regions))
        for (case, image), regions in sorted(marked.items())
    ]


def outline(region: Region) -> list[tuple[float, float]]:
    """Return the closed outline (x, y) of a box or an outlined region, in pixels."""
    if region.kind is RegionKind.BOX:
        (left, top), (right, bottom) = region.points
        return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return [*region.points, region.points[0]]


def _collection(case: ExportedCase, position: int, marked: Iterable[tuple[ExportedRead, Region]]) -> bytes:
    image = next(image for image in case.images if image.position == position)
    document = {
        "type": "FeatureCollection",
        "image": {"case": case.accession, "position": position, "width": image.width, "height": image.height}
        | ({"sha256": image.file_sha256} if image.file_sha256 else {})
        | ({"um_per_px": image.scale.um_per_px, "scale": image.scale.source_words} if image.scale else {})
        | ({"notes": list(image.notes)} if image.notes else {}),
        "features": [_feature(one, region, image.um_per_px) for one, region in marked],
    }
    return json.dumps(document, indent=1).encode()


def _geometry(region: Region) -> dict[str, object]:
    if region.kind is RegionKind.POINT:
        return {"type": "Point", "coordinates": region.points[0]}
    if region.kind is RegionKind.LINE:
        return {"type": "LineString", "coordinates": list(region.points)}
    return {"type": "Polygon", "coordinates": [outline(region)]}


def _lengths(region: Region, um_per_px: float | None) -> dict[str, str]:
    if region.kind is not RegionKind.LINE:
        return {}
    known = {} if um_per_px is None else {"length_um": f"{region.length * um_per_px:.4g}"}
    return {"length_px": f"{region.length:.1f}"} | known


def _feature(one: ExportedRead, region: Region, um_per_px: float | None) -> dict[str, object]:
    # A length says nothing of the tissue: it must not be loaded as an area of the label.
    label = "length" if region.kind is RegionKind.LINE else one.read.opinion.label or "cannot assess"
    metadata = (
        {
            "reader": str(one.reader_number),
            "stage": one.read.stage.value,
            "superseded": str(one.superseded),
            "withdrawn": str(one.withdrawn),
            "kind": region.kind.value,
        }
        | _lengths(region, um_per_px)
        | ({"note": region.note} if region.note else {})
    )
    if one.place:
        metadata |= {"arm": one.place.arm.value, "round": str(one.place.round), "iteration": str(one.place.iteration)}
    return {
        "type": "Feature",
        "geometry": _geometry(region),
        "properties": {
            "objectType": "annotation",
            "name": f"reader {one.reader_number}, {one.read.stage.value}",
            "classification": {"name": label},
            "metadata": metadata,
        },
    }
