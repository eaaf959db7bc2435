"""The report of one case as a FHIR R4 DiagnosticReport that contains every resource it refers to.

Structure: HL7 FHIR R4 (https://hl7.org/fhir/R4/diagnosticreport.html). It has no patient, because this program knows
none. Without names, it has no dates of reading and no hash of an image either.
"""

import base64
import json
from collections.abc import Sequence

from core.reading.scope_words import write_scope
from core.results import OUT_OF_SCOPE
from db.values.adjudication import Consensus, SignOff
from db.values.exports import CaseExport, ExportedImage, ExportedRead
from db.values.reading import ModelIdentity, Region, Reveal, Stage
from service.exports.mrmc import malignancy_score

Resource = dict[str, object]

DISCLAIMER = "Research use only. Not a diagnosis."
_SYSTEM = "urn:second-read"
_PSEUDONYMISED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "PSEUDED"}
_RESEARCH = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}
_NOT_PERFORMED = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-performed"}
_PATHOLOGY = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "SP", "display": "Surgical Pathology"}


def write_diagnostic_report(export: CaseExport) -> bytes:
    """Write every opinion on a case; preliminary until it is signed off, amended after a further version."""
    observations = [
        *(_read(export, one, number) for number, one in enumerate(export.reads, start=1) if not _is_withdrawal(one)),
        *_model_output(export),
        *(_consensus(export, one, number) for number, one in enumerate(export.consensus, start=1)),
        *(_sign_off(export, one) for one in export.sign_offs),
    ]
    media = [_media(image, named=export.named) for image in export.case.images]
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "meta": {
            "security": [_RESEARCH, *([] if export.named else [_PSEUDONYMISED])],
            "tag": [{"system": f"{_SYSTEM}:use", "code": "research-only", "display": DISCLAIMER}],
        },
        "contained": [*observations, *_devices(export), *media],
        "identifier": [
            {"system": f"{_SYSTEM}:{'accession' if export.named else 'pseudonym'}", "value": export.case.accession}
        ],
        "status": _status(export),
        "category": [{"coding": [_PATHOLOGY]}],
        "code": {"text": "Reading of breast histopathology images, for research"},
        "resultsInterpreter": [{"display": one.signer} for one in export.sign_offs[-1:]],
        "result": [_reference(one) for one in observations],
        "media": [{"comment": f"image {n}", "link": _reference(one)} for n, one in enumerate(media, start=1)],
        "conclusion": _conclusion(export),
    }
    if export.named and export.sign_offs:
        report["issued"] = export.sign_offs[-1].saved_at.isoformat()
    return json.dumps(_filled(report), indent=1, ensure_ascii=False).encode()


def _status(export: CaseExport) -> str:
    if not export.sign_offs:
        return "preliminary"
    return "final" if len(export.sign_offs) == 1 else "amended"


def _is_withdrawal(one: ExportedRead) -> bool:
    return one.read.stage is Stage.WITHDRAWN


def _conclusion(export: CaseExport) -> str:
    if export.sign_offs:
        last = export.sign_offs[-1]
        return f"{DISCLAIMER} Signed off, version {last.version}: {_label_text(last.label, last.subtype)}."
    if export.consensus:
        consensus = export.consensus[-1]
        return f"{DISCLAIMER} Consensus, not signed off: {_label_text(consensus.label, consensus.subtype)}."
    finals = [one for one in export.reads if one.read.stage is Stage.FINAL and not one.superseded]
    labels = sorted({one.read.opinion.label or "cannot assess" for one in finals})
    return f"{DISCLAIMER} Not signed off. Final reads: {len(finals)} ({', '.join(labels)})."


def _label_text(label: str | None, subtype: str | None) -> str:
    return f"{label or 'cannot assess'}{f' ({subtype})' if subtype else ''}"


def _read(export: CaseExport, one: ExportedRead, number: int) -> Resource:
    read, opinion = one.read, one.read.opinion
    seconds = (read.saved_at - read.opened_at).total_seconds()
    amends = read.stage is Stage.FINAL and any(each.read.id == read.supersedes for each in _finals(export))
    status = "preliminary" if read.stage is Stage.FIRST else "amended" if amends else "final"
    shown = one.shown
    return {
        "resourceType": "Observation",
        "id": f"read-{number}",
        "status": "cancelled" if one.withdrawn else status,
        "code": {"text": f"{read.stage.value} read, {_moment(one)}"},
        "performer": [{"display": read.reader}],
        "valueCodeableConcept": _label(opinion.label),
        "note": [{"text": opinion.note}] if opinion.note else [],
        "component": [
            _component("confidence, 1 to 5", "valueInteger", opinion.confidence),
            _component("malignancy score, 0 to 9", "valueInteger", malignancy_score(one)),
            _component("subtype", "valueString", opinion.subtype),
            _component("reason for differing from the model", "valueString", opinion.reason),
            _component("heat map useful", "valueString", opinion.vote.value if opinion.vote else None),
            _component("regions marked", "valueInteger", len(opinion.marked) or None),
            *(_length(export, region) for region in opinion.measured),
            _component("seconds from opening to saving", "valueQuantity", _seconds(seconds)),
            _component(
                "probability of malignancy that was shown",
                "valueQuantity",
                _ratio(shown.probability if shown else None),
            ),
            _component("threshold that was shown", "valueQuantity", _ratio(shown.threshold if shown else None)),
            _component("model version that was shown", "valueString", _shown_version(one)),
            _component("scope that was shown: in, unusual or out", "valueString", read.shown_scope),
            _component("replaced by a later read", "valueBoolean", one.superseded or None),
            _component(
                "given after the reader could have seen the opinions of others", "valueBoolean", read.informed or None
            ),
        ],
        **_period(export, one),
    }


def _length(export: CaseExport, region: Region) -> Resource | None:
    """Describe a length in micrometres, or in pixels if the scale of its image is unknown."""
    (image,) = (image for image in export.case.images if image.id == region.image_id)
    value, unit, code = region.length, "pixel", "{pixel}"
    if image.um_per_px is not None:
        value, unit, code = value * image.um_per_px, "µm", "um"
    quantity = {"value": round(value, 2), "unit": unit, "system": "http://unitsofmeasure.org", "code": code}
    return _component(f"length measured on image {image.position}", "valueQuantity", quantity)


def _moment(one: ExportedRead) -> str:
    if one.withheld_by:
        return "after the model gave no opinion"
    return f"{'after' if one.read.model_visible else 'before'} the model's opinion"


def _shown_version(one: ExportedRead) -> str | None:
    if one.shown:
        return one.shown.version
    return one.withheld_by.version if one.withheld_by else None


def _finals(export: CaseExport) -> list[ExportedRead]:
    return [one for one in export.reads if one.read.stage is Stage.FINAL]


def _period(export: CaseExport, one: ExportedRead) -> Resource:
    read = one.read
    if not export.named:
        return {}
    return {
        "effectivePeriod": {"start": read.opened_at.isoformat(), "end": read.saved_at.isoformat()},
        "issued": read.saved_at.isoformat(),
    }


def _model_output(export: CaseExport) -> list[Resource]:
    """Return the model's opinion; without one, that it gave none, if the images are out of its scope."""
    scopes = _scopes(export)
    if export.reveal:
        return [_model(export.reveal, scopes)]
    if not any(one.withheld for one in export.scopes):
        return []
    return [
        {
            "resourceType": "Observation",
            "id": "model-output",
            "status": "final",
            "code": {"text": "probability of malignancy, output of a model"},
            "device": {"reference": "#model"},
            "dataAbsentReason": {"coding": [_NOT_PERFORMED], "text": OUT_OF_SCOPE},
            "component": scopes,
        }
    ]


def _scopes(export: CaseExport) -> list[Resource | None]:
    positions = {image.id: image.position for image in export.case.images}
    return [
        _component(f"scope of image {positions[one.image_id]}", "valueString", write_scope(one.scope) or "in scope")
        for one in export.scopes
    ]


def _model(reveal: Reveal, scopes: Sequence[Resource | None]) -> Resource:
    return {
        "resourceType": "Observation",
        "id": "model-output",
        "status": "final",
        "code": {"text": "probability of malignancy, output of a model: the mean over the images"},
        "device": {"reference": "#model"},
        "valueQuantity": _ratio(reveal.malignant_probability),
        "component": [
            _component("threshold", "valueQuantity", _ratio(reveal.threshold)),
            _component("label by the threshold", "valueCodeableConcept", _label(reveal.malignancy)),
            _component("images with a result", "valueInteger", len(reveal.images)),
            _component("demonstration model", "valueBoolean", reveal.demonstration),
            *scopes,
        ],
    }


def _devices(export: CaseExport) -> list[Resource]:
    """Return the model whose opinion there is, or which gave none."""
    reveal = export.reveal
    if reveal:
        return [_device(ModelIdentity(reveal.model_version, reveal.model_name, reveal.demonstration))]
    return [_device(one.model) for one in export.scopes if one.withheld][-1:]


def _device(model: ModelIdentity) -> Resource:
    warning = "Demonstration model: do not rely on its results."
    note = f"{DISCLAIMER} {warning}" if model.demonstration else DISCLAIMER
    return {
        "resourceType": "Device",
        "id": "model",
        "deviceName": [{"name": model.name, "type": "model-name"}],
        "version": [{"type": {"text": "first twelve digits of the checkpoint's sha256"}, "value": model.version}],
        "note": [{"text": note}],
    }


def _consensus(export: CaseExport, one: Consensus, number: int) -> Resource:
    last = number == len(export.consensus)
    return {
        "resourceType": "Observation",
        "id": f"consensus-{number}",
        "status": "final",
        "code": {"text": "consensus after adjudication"},
        "performer": [{"display": one.adjudicator}],
        "valueCodeableConcept": _label(one.label),
        "note": [{"text": one.note}] if one.note else [],
        "component": [
            _component("confidence, 1 to 5", "valueInteger", one.confidence),
            _component("subtype", "valueString", one.subtype),
            _component("severity of the discordance", "valueString", one.severity.value),
            _component("replaced by a later consensus", "valueBoolean", None if last else True),
        ],
        "issued": one.saved_at.isoformat() if export.named else None,
    }


def _sign_off(export: CaseExport, one: SignOff) -> Resource:
    last = one.version == len(export.sign_offs)
    return {
        "resourceType": "Observation",
        "id": f"sign-off-{one.version}",
        "status": "final" if one.version == 1 else "amended",
        "code": {"text": f"sign-off, version {one.version}"},
        "performer": [{"display": one.signer}],
        "valueCodeableConcept": _label(one.label),
        "note": [{"text": words} for words in (one.note, one.why) if words],
        "component": [
            _component("subtype", "valueString", one.subtype),
            _component("replaced by a later version", "valueBoolean", None if last else True),
        ],
        "issued": one.saved_at.isoformat() if export.named else None,
    }


def _media(image: ExportedImage, *, named: bool) -> Resource:
    return {
        "resourceType": "Media",
        "id": f"image-{image.position}",
        # Whoever has the image could find it by its hash.
        "identifier": [_hash_of(image)] if named else [],
        "status": "completed",
        "height": image.height,
        "width": image.width,
        "content": {"contentType": "image/png", "title": f"image {image.position}"},
        "note": [{"text": note} for note in (*([f"{image.scale}"] if image.scale else []), *image.notes)],
    }


def _hash_of(image: ExportedImage) -> Resource:
    # RFC 6920: a URI made of a hash, which FHIR accepts as an identifier.
    digest = base64.urlsafe_b64encode(bytes.fromhex(image.file_sha256)).decode().rstrip("=")
    return {"system": "urn:ietf:rfc:3986", "value": f"ni:///sha-256;{digest}"}


def _component(text: str, kind: str, value: object) -> Resource | None:
    return None if value is None else {"code": {"text": text}, kind: value}


def _label(label: str | None) -> Resource:
    words = label or "cannot assess"
    return {
        "coding": [{"system": f"{_SYSTEM}:label", "code": words.replace(" ", "-"), "display": words}],
        "text": words,
    }


def _ratio(value: float | None) -> Resource | None:
    return None if value is None else {"value": value, "system": "http://unitsofmeasure.org", "code": "1"}


def _seconds(value: float) -> Resource:
    return {"value": round(value, 3), "unit": "s", "system": "http://unitsofmeasure.org", "code": "s"}


def _reference(resource: Resource) -> Resource:
    return {"reference": f"#{resource['id']}"}


def _filled(value: object) -> object:
    """Remove empty values: FHIR allows neither empty lists nor null."""
    if isinstance(value, dict):
        return {name: filled for name, one in value.items() if (filled := _filled(one)) not in (None, [], {})}
    if isinstance(value, list):
        return [filled for one in value if (filled := _filled(one)) not in (None, [], {})]
    return value
