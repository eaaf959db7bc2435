"""A case as a FHIR DiagnosticReport: of the right structure, and without names unless they are asked for."""

import base64
import json
from dataclasses import replace

import pytest
from fhir.resources.R4B.device import Device
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.media import Media
from fhir.resources.R4B.observation import Observation

from core.imaging.scale import Scale
from core.results import OUT_OF_SCOPE
from db import store
from db.errors import InStudyError, NotRevealedError
from db.values.accounts import Role
from db.values.exports import NO_TIME, pseudonym
from db.values.reading import Arm, Opinion, Region, RegionKind
from db.values.scales import ChosenScale
from db.values.studies import StudyPlan
from service.exports.fhir import DISCLAIMER, write_diagnostic_report
from tests.helpers.exports import ReportedCase, case_of_first_pages, case_out_of_scope, reported_case
from tests.helpers.rows import MALIGNANT, OPENED, STRANGE_COLOURS
from tests.helpers.world import World

_CHECKS = {"Observation": Observation.model_validate, "Device": Device.model_validate, "Media": Media.model_validate}
_UNITS = {"system": "http://unitsofmeasure.org"}


@pytest.fixture
def reported(world: World) -> ReportedCase:
    return reported_case(world)


def checked(data: bytes) -> DiagnosticReport:
    """Check everything against the structure, and that each reference leads to something."""
    found = json.loads(data)
    report = DiagnosticReport.model_validate(found)
    contained = found["contained"]
    for one in contained:
        _CHECKS[one["resourceType"]](one)
    ids = [one["id"] for one in contained]
    assert len(set(ids)) == len(ids)
    named = [one["reference"] for one in found["result"]] + [one["link"]["reference"] for one in found["media"]]
    used = [one["device"]["reference"] for one in contained if "device" in one]
    assert sorted({*named, *used}) == sorted(f"#{name}" for name in ids), "all that is contained is referred to"
    return report


def by_id(data: bytes, name: str) -> dict[str, object]:
    found = next(one for one in json.loads(data)["contained"] if one["id"] == name)
    said = {
        each["code"]["text"]: next(value for key, value in each.items() if key.startswith("value"))
        for each in found.get("component", ())
    }
    return {"status": found["status"], "label": found.get("valueCodeableConcept", {}).get("text", ""), **said}


def test_it_is_preliminary_until_signed_and_amended_after_another_version(reported: ReportedCase) -> None:
    statuses = [checked(write_diagnostic_report(reported.export())).status]
    reported.settle()
    statuses.append(checked(write_diagnostic_report(reported.export())).status)
    reported.sign()
    statuses.append(checked(write_diagnostic_report(reported.export())).status)
    assert statuses == ["preliminary", "preliminary", "final"]


def test_an_amended_sign_off_is_an_amended_report_and_the_old_version_stays(reported: ReportedCase) -> None:
    reported.sign(versions=2)
    data = write_diagnostic_report(reported.export())
    assert checked(data).status == "amended"
    assert by_id(data, "sign-off-1")["replaced by a later version"]
    assert by_id(data, "sign-off-2")["status"] == "amended"


def test_each_read_stands_with_what_was_shown(reported: ReportedCase) -> None:
    data = write_diagnostic_report(reported.export(named=True))
    checked(data)
    first, replaced, amended = (by_id(data, f"read-{number}") for number in (1, 3, 5))
    assert (first["status"], first["label"], first["regions marked"]) == ("preliminary", "benign", 3)
    # Without a scale there are no micrometres.
    assert first["length measured on image 1"] == {"value": 150, "unit": "pixel", "code": "{pixel}", **_UNITS}
    assert "threshold that was shown" not in first
    assert replaced["replaced by a later read"]
    assert replaced["reason for differing from the model"] == "wrong_area"
    assert replaced["model version that was shown"] == "0123456789ab"
    assert (amended["status"], amended["label"], amended["malignancy score, 0 to 9"]) == ("amended", "malignant", 9)
    model = by_id(data, "model-output")
    assert model["demonstration model"]
    assert model["label by the threshold"] == {
        "coding": [{"system": "urn:second-read:label", "code": "malignant", "display": "malignant"}],
        "text": "malignant",
    }


def test_a_read_that_was_taken_back_is_cancelled(world: World) -> None:
    case_id = world.add_case(1)
    world.analyse()
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, case_id, world.reader, Opinion("malignant", 3), OPENED)
        read = store.reads.record_final_read(session, case_id, world.reader, Opinion("malignant", 3), OPENED)
        store.reads.withdraw_read(session, read.id, world.reader)
    with pytest.raises(NotRevealedError), world.sessions.read() as session:
        store.exports.exported_case(session, case_id, world.reader)
    with world.sessions.begin() as session:
        store.reads.record_final_read(session, case_id, world.reader, Opinion(None, None), OPENED)
    with world.sessions.read() as session:
        data = write_diagnostic_report(store.exports.exported_case(session, case_id, world.reader))
    checked(data)
    assert by_id(data, "read-2")["status"] == "cancelled"
    assert (by_id(data, "read-4")["status"], by_id(data, "read-4")["label"]) == ("final", "cannot assess")


def test_it_says_first_that_it_is_no_diagnosis(reported: ReportedCase) -> None:
    report = checked(write_diagnostic_report(reported.export()))
    assert report.conclusion == f"{DISCLAIMER} Not signed off. Final reads: 2 (malignant)."
    reported.settle()
    report = checked(write_diagnostic_report(reported.export()))
    assert report.conclusion == f"{DISCLAIMER} Consensus, not signed off: malignant."


def test_names_dates_and_notes_are_in_it_only_when_asked(reported: ReportedCase) -> None:
    reported.settle()
    reported.sign(versions=2)
    data = write_diagnostic_report(reported.export())
    text = data.decode()
    for telltale in ("dr. telltale", "prof.", "Mrs.", "TELLTALE", "HYPERLINK", "2026", "1950", 'reader"'):
        assert telltale not in text, telltale
    assert "PSEUDED" in text
    named = write_diagnostic_report(reported.export(named=True))
    checked(named)
    for telltale in ("TELLTALE-17", "dr. telltale", "prof. telltale", "Mrs. Telltale", OPENED.isoformat()):
        assert telltale in named.decode(), telltale


def test_the_number_of_a_case_is_the_same_in_each_report_and_not_its_place(reported: ReportedCase) -> None:
    one, again = reported.export(), reported.export(reported.other)
    assert one.case.accession == again.case.accession != "case 1"
    assert {each.read.reader for each in one.reads} == {each.read.reader for each in again.reads}
    assert one.made_by != again.made_by


def test_images_are_named_by_their_hash_only_if_names_are_asked_for(reported: ReportedCase) -> None:
    export = reported.export(named=True)
    found = json.loads(write_diagnostic_report(export))
    media = [one for one in found["contained"] if one["resourceType"] == "Media"]
    assert len(media) == 2
    assert all(one["identifier"][0]["value"].startswith("ni:///sha-256;") for one in media)
    plain = reported.export()
    text = write_diagnostic_report(plain).decode()
    for image in export.case.images:
        digest = bytes.fromhex(image.file_sha256)
        for told in (image.file_sha256, base64.urlsafe_b64encode(digest).decode().rstrip("="), "sha-256"):
            assert told not in text
        # Nor anything that who has the image could compute from it.
        assert plain.case.accession != f"case {pseudonym(image.file_sha256, 'case')}"


def test_without_names_only_rounded_durations_are_left_of_the_times(reported: ReportedCase) -> None:
    reported.settle()
    reported.sign()
    export = reported.export()
    assert {one.read.opened_at for one in export.reads} == {NO_TIME}
    assert {one.saved_at for one in export.consensus} == {one.saved_at for one in export.sign_offs} == {NO_TIME}
    assert all((one.read.saved_at - NO_TIME).total_seconds() % 5 == 0 for one in export.reads)
    readers = [one.read.reader for one in export.reads]
    assert readers == sorted(readers), "not in the order of saving"
    text = write_diagnostic_report(export).decode()
    for told in ("effectivePeriod", "issued", "1970", str(OPENED.year)):
        assert told not in text


def test_only_who_has_had_the_last_word_gets_it(reported: ReportedCase) -> None:
    adjudicator = reported.settle()
    with reported.world.sessions.begin() as session:
        stranger = store.accounts.add_account(session, "stranger", Role.READER)
        store.reads.record_first_read(session, reported.case_id, stranger.id, Opinion("benign", 3), OPENED)
    with pytest.raises(NotRevealedError, match="save your final opinion first"):
        reported.export(stranger.id)
    found = reported.export(adjudicator, named=True)
    assert found.case.accession == "TELLTALE-17"
    assert not {one.read.reader for one in found.reads} & {"dr. telltale", "reader"}, "adjudicators get no names"


def test_a_case_of_an_open_study_has_no_report(reported: ReportedCase, world: World) -> None:
    free = world.add_case(9)
    world.analyse()
    with world.sessions.begin() as session:
        store.studies.make_study(session, world.reader, StudyPlan("s", (world.reader,), (free,), (Arm.UNAIDED,)))
    with pytest.raises(InStudyError), world.sessions.read() as session:
        store.exports.exported_case(session, free, world.reader)


def test_how_a_file_was_read_is_in_it(world: World) -> None:
    case_id = case_of_first_pages(world)
    with world.sessions.read() as session:
        data = write_diagnostic_report(store.exports.exported_case(session, case_id, world.reader))
    checked(data)
    [media] = [one for one in json.loads(data)["contained"] if one["resourceType"] == "Media"]
    assert media["note"] == [{"text": "only the first of 2 pages is used"}]


def test_scales_and_lengths_are_in_it(world: World) -> None:
    case_id = world.add_case(1)
    world.analyse()
    with world.sessions.begin() as session:
        (image,) = store.open_case.case_images(session, case_id)
        store.scales.set_scale(session, world.reader, image.id, ChosenScale(Scale(0.5, "ruler")))
    world.analyse()
    line = Region(image.id, RegionKind.LINE, ((10.0, 10.0), (40.0, 50.0)))
    with world.sessions.begin() as session:
        for record in (store.reads.record_first_read, store.reads.record_final_read):
            record(session, case_id, world.reader, replace(MALIGNANT, regions=(line,)), OPENED)
    with world.sessions.read() as session:
        data = write_diagnostic_report(store.exports.exported_case(session, case_id, world.reader))
    checked(data)
    [media] = [one for one in json.loads(data)["contained"] if one["resourceType"] == "Media"]
    assert media["note"] == [{"text": "0.5 µm per pixel, set with the ruler"}]
    read = by_id(data, "read-1")
    assert "regions marked" not in read, "a length is no finding"
    assert read["length measured on image 1"] == {"value": 25, "unit": "µm", "code": "um", **_UNITS}


def test_a_case_out_of_scope_has_no_probability_but_says_why(world: World) -> None:
    data = write_diagnostic_report(case_out_of_scope(world))
    checked(data)
    output = by_id(data, "model-output")
    assert output["scope of image 1"] == f"{OUT_OF_SCOPE} ({STRANGE_COLOURS})."
    contained = json.loads(data)["contained"]
    (found,) = (one for one in contained if one["id"] == "model-output")
    assert found["dataAbsentReason"]["text"] == OUT_OF_SCOPE
    assert "valueQuantity" not in found
    final = next(one for one in contained if one["id"] == "read-2")
    assert final["code"]["text"] == "final read, after the model gave no opinion"
    assert by_id(data, "read-2")["scope that was shown: in, unusual or out"] == "out"
