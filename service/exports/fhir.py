"""A report of one case as a FHIR R4 DiagnosticReport, with everything it refers to contained in it.

Structure: HL7 FHIR R4 (https://hl7.org/fhir/R4/diagnosticreport.html). There is no patient in it: this program knows
none. Without names there are no dates of reading either.
"""

import base64
import json

from db.values.exports import CaseExport, ExportedImage, ExportedRead
from db.values.reading import Consensus, Reveal, SignOff, Stage
from service.exports.mrmc import score_of

Resource = dict[str, object]

DISCLAIMER = "Research use only. Not a diagnosis."
_SYSTEM = "urn:second-read"
_PSEUDONYMISED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "PSEUDED"}
_RESEARCH = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}
_PATHOLOGY = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "SP", "display": "Surgical Pathology"}


def diagnostic_report(found: CaseExport) -> bytes:
    """Write all that was said of a case; preliminary until it is signed, amended once a signed version is replaced."""
    observations = [
        *(_read(found, one, number) for number, one in enumerate(found.reads, start=1) if not _takes_back(one)),
        *([_model(found.reveal)] if found.reveal else []),
        *(_consensus(found, one, number) for number, one in enumerate(found.consensus, start=1)),
        *(_signed(found, one) for one in found.sign_offs),
    ]
    media = [_media(image) for image in found.case.images]
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "meta": {
            "security": [_RESEARCH, *([] if found.named else [_PSEUDONYMISED])],
            "tag": [{"system": f"{_SYSTEM}:use", "code": "research-only", "display": DISCLAIMER}],
        },
        "contained": [*observations, *([_device(found.reveal)] if found.reveal else []), *media],
        "identifier": [
            {"system": f"{_SYSTEM}:{'accession' if found.named else 'pseudonym'}", "value": found.case.accession}
        ],
        "status": _status(found),
        "category": [{"coding": [_PATHOLOGY]}],
        "code": {"text": "Reading of breast histopathology images, for research"},
        "resultsInterpreter": [{"display": one.signer} for one in found.sign_offs[-1:]],
        "result": [_reference(one) for one in observations],
        "media": [{"comment": f"image {n}", "link": _reference(one)} for n, one in enumerate(media, start=1)],
        "conclusion": _conclusion(found),
    }
    if found.named and found.sign_offs:
        report["issued"] = found.sign_offs[-1].saved_at.isoformat()
    return json.dumps(_filled(report), indent=1, ensure_ascii=False).encode()


def _status(found: CaseExport) -> str:
    if not found.sign_offs:
        return "preliminary"
    return "final" if len(found.sign_offs) == 1 else "amended"


def _takes_back(one: ExportedRead) -> bool:
    return one.read.stage is Stage.WITHDRAWN


def _conclusion(found: CaseExport) -> str:
    signed, settled = found.sign_offs[-1:], found.consensus[-1:]
    if signed:
        return f"{DISCLAIMER} Signed, version {signed[0].version}: {_words(signed[0].label, signed[0].subtype)}."
    if settled:
        return f"{DISCLAIMER} Consensus, not signed: {_words(settled[0].label, settled[0].subtype)}."
    finals = [one for one in found.reads if one.read.stage is Stage.FINAL and not one.superseded]
    said = sorted({one.read.opinion.label or "cannot assess" for one in finals})
    return f"{DISCLAIMER} Not signed. {len(finals)} final reads: {', '.join(said)}."


def _words(label: str | None, subtype: str | None) -> str:
    return f"{label or 'cannot assess'}{f' ({subtype})' if subtype else ''}"


def _read(found: CaseExport, one: ExportedRead, number: int) -> Resource:
    read, said = one.read, one.read.opinion
    seconds = (read.saved_at - read.opened_at).total_seconds()
    amends = read.stage is Stage.FINAL and any(each.read.id == read.supersedes for each in _finals(found))
    status = "preliminary" if read.stage is Stage.FIRST else "amended" if amends else "final"
    shown = one.shown
    return {
        "resourceType": "Observation",
        "id": f"read-{number}",
        "status": "cancelled" if one.withdrawn else status,
        "code": {"text": f"{read.stage.value} read, {'after' if read.model_visible else 'before'} the model's opinion"},
        "performer": [{"display": read.reader}],
        "valueCodeableConcept": _label(said.label),
        "note": [{"text": said.note}] if said.note else [],
        "component": [
            _component("confidence, 1 to 5", "valueInteger", said.confidence),
            _component("malignancy score, 0 to 9", "valueInteger", score_of(one)),
            _component("subtype", "valueString", said.subtype),
            _component("reason for differing from the model", "valueString", said.reason),
            _component("heat map useful", "valueString", said.vote.value if said.vote else None),
            _component("regions marked", "valueInteger", len(said.regions) or None),
            _component("seconds from opening to saving", "valueQuantity", _seconds(seconds)),
            _component(
                "probability of malignancy that was shown",
                "valueQuantity",
                _ratio(shown.probability if shown else None),
            ),
            _component("threshold that was shown", "valueQuantity", _ratio(shown.threshold if shown else None)),
            _component("model version that was shown", "valueString", shown.version if shown else None),
            _component("replaced by a later read", "valueBoolean", one.superseded or None),
        ],
        **_period(found, one),
    }


def _finals(found: CaseExport) -> list[ExportedRead]:
    return [one for one in found.reads if one.read.stage is Stage.FINAL]


def _period(found: CaseExport, one: ExportedRead) -> Resource:
    read = one.read
    if not found.named:
        return {}
    return {
        "effectivePeriod": {"start": read.opened_at.isoformat(), "end": read.saved_at.isoformat()},
        "issued": read.saved_at.isoformat(),
    }


def _model(reveal: Reveal) -> Resource:
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
        ],
    }


def _device(reveal: Reveal) -> Resource:
    words = f"{DISCLAIMER} {'A demonstration model, not to be relied on.' if reveal.demonstration else ''}".strip()
    return {
        "resourceType": "Device",
        "id": "model",
        "deviceName": [{"name": reveal.model_name, "type": "model-name"}],
        "version": [
            {"type": {"text": "first twelve digits of the checkpoint's sha256"}, "value": reveal.model_version}
        ],
        "note": [{"text": words}],
    }


def _consensus(found: CaseExport, one: Consensus, number: int) -> Resource:
    last = number == len(found.consensus)
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
        "issued": one.saved_at.isoformat() if found.named else None,
    }


def _signed(found: CaseExport, one: SignOff) -> Resource:
    last = one.version == len(found.sign_offs)
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
        "issued": one.saved_at.isoformat() if found.named else None,
    }


def _media(image: ExportedImage) -> Resource:
    # RFC 6920: a name made of a hash, which FHIR takes as an identifier in its system of URIs.
    digest = base64.urlsafe_b64encode(bytes.fromhex(image.file_sha256)).decode().rstrip("=")
    return {
        "resourceType": "Media",
        "id": f"image-{image.position}",
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"ni:///sha-256;{digest}"}],
        "status": "completed",
        "height": image.height,
        "width": image.width,
        "content": {"contentType": "image/png", "title": f"image {image.position}"},
    }


def _component(what: str, kind: str, value: object) -> Resource | None:
    return None if value is None else {"code": {"text": what}, kind: value}


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
    """Leave out what is empty: FHIR knows no empty lists and no null."""
    if isinstance(value, dict):
        return {name: filled for name, one in value.items() if (filled := _filled(one)) not in (None, [], {})}
    if isinstance(value, list):
        return [filled for one in value if (filled := _filled(one)) not in (None, [], {})]
    return value
