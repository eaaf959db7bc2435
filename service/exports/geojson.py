"""Marked regions and measured lengths, as one GeoJSON file per image, in pixels from its top left corner.

QuPath loads them onto an image of the same size (File, Import objects).
"""

import json
from array import array
from collections.abc import Iterable, Iterator

from db.values.exports import ExportedCase, ExportedImage, ExportedRead, ReadsExport
from db.values.reading import Region, RegionKind


def write_region_files(export: ReadsExport) -> Iterator[tuple[str, bytes]]:
    """Yield the file name and content for each image with at least one marked region."""
    marked: dict[tuple[int, int], array[int]] = {}  # the places of the reads that mark each image
    for place, one in enumerate(export.reads):
        for image_id in {region.image_id for region in one.read.opinion.regions}:
            marked.setdefault((one.case_number, image_id), array("q")).append(place)
    for (number, image_id), places in sorted(marked.items()):
        case = export.case(number)
        image = next(image for image in case.images if image.id == image_id)
        reads = (export.reads[place] for place in places)
        regions = ((one, region) for one in reads for region in one.read.opinion.regions if region.image_id == image_id)
        yield f"case-{number}-image-{image.position}.geojson", _collection(case, image, regions)


def outline(region: Region) -> list[tuple[float, float]]:
    """Return the closed outline (x, y) of a box or an outlined region, in pixels."""
    if region.kind is RegionKind.BOX:
        (left, top), (right, bottom) = region.points
        return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return [*region.points, region.points[0]]


def _collection(case: ExportedCase, image: ExportedImage, marked: Iterable[tuple[ExportedRead, Region]]) -> bytes:
    document = {
        "type": "FeatureCollection",
        "image": {"case": case.accession, "position": image.position, "width": image.width, "height": image.height}
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
