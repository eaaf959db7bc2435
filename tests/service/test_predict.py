"""Programs are answered what the model says of images: the published fields, and nothing of a case still to be read."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from httpx2 import Response
from PIL import Image
from sqlalchemy import text

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.imaging.limits import UnreadableImageError
from core.results import OUT_OF_SCOPE, JudgedScope, PatchFeatures, RgbImage, Scope
from db import store
from db.values.accounts import Role, TokenScope
from service.api import predict
from service.api.known_files import KnownFile, KnownFiles
from service.api.limits import RequestLimits
from service.engine.requests import EngineBusyError, EngineUnavailableError
from service.intake import CasePlan, add_images
from tests.helpers.fakes import FakeClassifier, give_no_number, nothing
from tests.helpers.programs import VERSION, Interface, running_interface, unpack
from tests.helpers.rows import sign_off_row, study_rows

_IMAGE = encode_png(generate_tissue(1, "malignant", 128, 192))
_OTHER = encode_png(generate_tissue(2, "benign", 128, 192))
_NO_IMAGE = b"this is not an image"


class _OutOfScope:
    """Finds that every image is unlike the training images."""

    def judge(self, recorded: RgbImage, image: RgbImage, features: PatchFeatures) -> JudgedScope:
        """Judge one image."""
        scope = Scope("out", 2.5, 1.0, 2.0, ("it is a test",))
        return JudgedScope(scope, np.zeros((len(features), *image.shape[:2]), np.float32))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    """One server for all tests of this module."""
    with running_interface(tmp_path_factory.mktemp("programs")) as interface:
        yield interface


@pytest.fixture
def interface(served: Interface) -> Iterator[Interface]:
    """The server with an engine that has been asked nothing, and with the usual limits."""
    served.engine.asked.clear()
    yield served
    served.engine.classifier, served.engine.fails, served.engine.meanwhile = FakeClassifier(), None, nothing
    served.change_limits(RequestLimits())


def test_one_image_is_answered_with_the_published_fields(interface: Interface) -> None:
    interface.engine.classifier = FakeClassifier(malignant=0.75)
    answer = interface.predict(_IMAGE)
    assert answer.status_code == 200
    found = answer.json()
    assert found["prediction"] == "malignant"
    assert found["confidence"] == pytest.approx(0.75)
    assert found["probabilities"] == pytest.approx({"benign": 0.25, "malignant": 0.75})
    assert found["num_patches"] == 6
    assert found["patch_breakdown"] == {"benign_patches": 0, "malignant_patches": 6}
    assert found["processing_time_seconds"] > 0
    assert (found["model_version"], found["threshold"], found["research_use_only"]) == (VERSION, 0.5, True)
    assert found["quality"]["tissue_fraction"] > 0
    assert found["scale"] == {
        "um_per_px": None,
        "note": "The scale is unknown: neither the file nor the request states it.",
    }
    assert (found["heatmap"], found["reason"], found["error"]) == (None, None, None)
    assert answer.headers["cache-control"] == "no-store"


def test_the_confidence_is_that_of_the_side_that_is_answered(interface: Interface) -> None:
    interface.engine.classifier = FakeClassifier(malignant=0.2)
    found = interface.predict(_IMAGE).json()
    assert (found["prediction"], found["confidence"]) == ("benign", pytest.approx(0.8))


def test_the_scale_of_a_request_reaches_the_engine_and_is_answered(interface: Interface) -> None:
    found = interface.predict(_IMAGE, um_per_px="0.5").json()
    assert found["scale"] == {"um_per_px": 0.5, "note": "As stated in the request."}
    assert interface.engine.asked[0].um_per_px == 0.5
    refused = interface.predict(_IMAGE, um_per_px="77")
    assert refused.status_code == 422
    assert "um_per_px" in refused.json()["errors"][0]


def test_the_heat_map_comes_as_a_png_over_the_image_and_as_logits_when_it_is_asked_for(interface: Interface) -> None:
    found = interface.predict(_IMAGE, heatmap="true").json()["heatmap"]
    overlay = np.asarray(Image.open(BytesIO(unpack(found["overlay_png"]))))
    logits = tifffile.imread(BytesIO(unpack(found["logits_tiff"])))
    assert overlay.shape == (128, 192, 3)
    assert logits.shape == (128, 192)
    assert logits.dtype == np.float32
    assert {float(logits.min()), float(logits.max())} == {-1, 2}
    assert interface.engine.asked[0].heatmap


def test_a_model_without_an_opinion_gives_the_reason_and_no_probability(interface: Interface) -> None:
    interface.engine.classifier = FakeClassifier(scope=_OutOfScope())
    found = interface.predict(_IMAGE, heatmap="true").json()
    assert found["scope"]["level"] == "out"
    assert found["reason"].startswith(OUT_OF_SCOPE)
    for name in ("prediction", "confidence", "probabilities", "num_patches", "label", "classes", "heatmap"):
        assert found[name] is None, name


def test_a_folder_is_answered_with_its_mean_and_a_bad_file_with_its_error(interface: Interface) -> None:
    answer = interface.predict(_IMAGE, _NO_IMAGE, _OTHER)
    assert answer.status_code == 200
    found = answer.json()
    first, bad, last = found["individual_predictions"]
    assert [one["filename"] for one in found["individual_predictions"]] == ["field 1.png", "field 2.png", "field 3.png"]
    assert (found["num_images"], bad["prediction"], bad["probabilities"]) == (3, None, None)
    assert "not a supported image format" in bad["error"]
    malignant = (first["probabilities"]["malignant"] + last["probabilities"]["malignant"]) / 2
    whole = found["aggregated_diagnosis"]
    assert whole["probabilities"]["malignant"] == pytest.approx(malignant)
    assert whole["prediction"] == ("malignant" if malignant >= 0.5 else "benign")
    assert whole["confidence"] == pytest.approx(max(malignant, 1 - malignant))
    assert sum(found["image_breakdown"].values()) == 2
    assert {one.priority for one in interface.engine.asked} == {"cohort"}


def test_a_folder_without_any_opinion_has_no_mean(interface: Interface) -> None:
    found = interface.predict(_NO_IMAGE, _NO_IMAGE).json()
    assert found["aggregated_diagnosis"] == {"prediction": None, "confidence": None, "probabilities": None}
    assert (found["image_breakdown"], found["model_version"]) == ({"benign_images": 0, "malignant_images": 0}, None)


def test_a_folder_is_not_answered_by_two_models(interface: Interface) -> None:
    interface.engine.versions = ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    answer = interface.predict(_IMAGE, _OTHER)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "another model" in answer.json()["detail"]


def test_a_file_that_is_no_image_is_a_problem_that_says_why(interface: Interface) -> None:
    answer = interface.predict(_NO_IMAGE)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Unprocessable Entity"
    assert "not a supported image format" in answer.json()["detail"]


def test_a_missing_field_is_named(interface: Interface) -> None:
    answer = interface.client.post("/predict/single", headers=interface.headers(TokenScope.PREDICT))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"] == ["body.file: Field required"]


@pytest.mark.parametrize(
    ("error", "seconds"), [(EngineBusyError(7), "7"), (EngineUnavailableError("the worker is starting"), "5")]
)
def test_a_busy_or_missing_engine_says_when_to_try_again(interface: Interface, error: Exception, seconds: str) -> None:
    interface.engine.fails = error
    for answer in (interface.predict(_IMAGE), interface.predict(_IMAGE, _OTHER)):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, seconds)
        assert answer.json()["detail"] == str(error)


def test_an_image_that_only_the_engine_cannot_read_is_a_problem_or_an_entry(interface: Interface) -> None:
    interface.engine.fails = UnreadableImageError("there is not enough memory")
    one, folder = interface.predict(_IMAGE), interface.predict(_IMAGE, _OTHER)
    assert (one.status_code, one.json()["detail"]) == (422, "there is not enough memory")
    assert [entry["error"] for entry in folder.json()["individual_predictions"]] == ["there is not enough memory"] * 2


def test_the_same_key_gives_the_same_answer_and_is_carried_out_once(interface: Interface) -> None:
    first, again = interface.predict(_IMAGE, key="a"), interface.predict(_IMAGE, key="a")
    assert first.content == again.content
    assert len(interface.engine.asked) == 1
    assert interface.predict(_IMAGE).content != first.content, "another time"
    other = interface.predict(_OTHER, key="a")
    assert other.status_code == 409
    assert "use a new key" in other.json()["detail"]


def test_two_requests_with_one_key_at_once_are_carried_out_once(interface: Interface) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: interface.predict(_IMAGE, _OTHER, key="at-once"), range(4)))
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    assert len({answer.content for answer in answers}) == 1
    assert len(interface.engine.asked) == 2


def test_nothing_that_is_posted_for_a_prediction_is_stored(
    interface: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", lambda _: written.append(Path("rolled over")))
    large = encode_png(np.random.default_rng(1).integers(0, 256, (800, 800, 3), np.uint8))
    assert len(large) > 1024 * 1024, "else it would stay in memory anyway"
    before = _everything_stored(interface)
    for answer in (interface.predict(large, key="large", heatmap="true"), interface.predict(_IMAGE, large)):
        assert answer.status_code == 200
    assert _everything_stored(interface) == before
    assert written == []


def _everything_stored(interface: Interface) -> tuple[list[str], list[str]]:
    with interface.sessions.read() as session:
        dump = [
            f"{table}: {session.execute(text(f'SELECT * FROM {table}')).all()}"  # noqa: S608
            for table in ("cases", "images", "jobs", "predictions", "image_scopes", "audit_events", "keyed_requests")
        ]
    return dump, list(interface.installation.files.stored())


@pytest.mark.parametrize("encoded_again", [False, True], ids=["same file", "same pixels"])
def test_an_image_of_a_case_still_to_be_read_is_refused_until_it_is_signed_off(
    interface: Interface, encoded_again: bool
) -> None:
    image = encode_png(generate_tissue(10 + encoded_again, "malignant", 128, 192))
    case_id = _add_case(interface, image)
    posted = _encode_again(image) if encoded_again else image
    interface.engine.asked.clear()
    for answer in (interface.predict(posted), interface.predict(_IMAGE, posted)):
        assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
        assert answer.json()["case_id"] == case_id
        assert "must first be read without the model" in answer.json()["detail"]
    assert interface.engine.asked == [], "nothing was computed"
    interface.world.add(sign_off_row(case_id, interface.account(Role.READER).id))
    assert interface.predict(posted).status_code == 200


def test_an_image_that_was_answered_before_is_refused_once_its_pixels_are_in_a_case(
    interface: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = encode_png(generate_tissue(15, "malignant", 128, 192))
    posted = _encode_again(image)
    first = interface.predict(posted)
    with monkeypatch.context() as patch:
        patch.setattr(predict, "encode_png", give_no_number)
        assert interface.predict(posted).json()["probabilities"] == first.json()["probabilities"], "known by its bytes"
        assert interface.predict(posted, heatmap="true").json()["heatmap"] is not None
        case_id = _add_case(interface, image)
        assert interface.predict(posted).json()["case_id"] == case_id
    assert interface.predict(posted).status_code == 409


def test_the_files_that_were_sent_last_are_known() -> None:
    files, known = KnownFiles(most=2), KnownFile("stored", None)
    files.put("a", known)
    files.put("b", known)
    assert files.get("a") is known
    files.put("c", known)
    assert [files.get(one) is known for one in "abc"] == [True, False, True]


def test_a_signed_case_in_an_open_study_is_still_to_be_read(interface: Interface) -> None:
    image = encode_png(generate_tissue(20, "benign", 128, 192))
    case_id, reader = _add_case(interface, image), interface.account(Role.READER).id
    interface.world.add(sign_off_row(case_id, reader), *study_rows(case_id, reader, reader))
    assert interface.predict(image).status_code == 409
    with interface.sessions.begin() as session:
        store.studies.close_study(session, interface.account(Role.ADMINISTRATOR).id, 1)
    assert interface.predict(image).status_code == 200


def test_an_administrator_can_open_a_case_to_predictions(interface: Interface) -> None:
    image = encode_png(generate_tissue(30, "benign", 128, 192))
    _add_case(interface, image, accession="OPENED-1")
    assert interface.predict(image).status_code == 409
    with interface.sessions.begin() as session:
        store.predictable.open_to_predictions(
            session, interface.account(Role.ADMINISTRATOR).id, "opened-1", "a comparison with another system"
        )
    assert interface.predict(image).status_code == 200


def test_an_image_that_becomes_one_of_a_case_meanwhile_is_refused(interface: Interface) -> None:
    image = encode_png(generate_tissue(40, "benign", 128, 192))
    interface.engine.meanwhile = lambda: _add_case(interface, image)
    answer = interface.predict(image)
    assert answer.status_code == 409
    assert "malignant" not in answer.text


def test_too_many_files_and_too_many_bytes_are_refused_before_anything_is_analysed(interface: Interface) -> None:
    interface.change_limits(RequestLimits(files=2))
    many = interface.predict(_IMAGE, _OTHER, _OTHER)
    assert (many.status_code, "Maximum number of files is 2" in many.text) == (413, True)
    interface.change_limits(RequestLimits(body_bytes=1000))
    large = interface.predict(_IMAGE)
    assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
    # Without a length that says so before.
    boundary = "b"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
    chunked = interface.client.post(
        "/predict/single",
        headers=interface.headers(TokenScope.PREDICT) | {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        content=iter([head, _IMAGE, _IMAGE]),
    )
    assert chunked.status_code == 413
    assert interface.engine.asked == []


def test_a_token_that_asks_too_often_is_told_when_to_try_again(interface: Interface) -> None:
    interface.change_limits(RequestLimits(requests=2))
    assert [interface.predict(_IMAGE).status_code for _ in range(2)] == [200, 200]
    refused = interface.predict(_IMAGE)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    others = interface.headers(TokenScope.PREDICT, Role.ADMINISTRATOR)
    answer = interface.client.post("/predict/single", headers=others, files={"file": _IMAGE})
    assert answer.status_code == 200, "another token has its own count"


def test_uploads_of_one_token_and_of_all_are_limited(interface: Interface) -> None:
    refused: list[Response] = []

    def ask_once_more() -> None:
        interface.engine.meanwhile = nothing
        refused.append(interface.predict(_OTHER))

    for limits in (RequestLimits(uploads_of_token=1), RequestLimits(uploads=1)):
        interface.change_limits(limits)
        interface.engine.meanwhile = ask_once_more
        assert interface.predict(_IMAGE).status_code == 200
        assert interface.predict(_OTHER).status_code == 200, "its place is free again"
    assert [(one.status_code, one.headers["retry-after"]) for one in refused] == [(429, "2"), (503, "2")]


def test_an_answer_that_takes_too_long_is_given_up(interface: Interface) -> None:
    interface.change_limits(RequestLimits(answer_seconds=0.0))
    answer = interface.predict(_IMAGE)
    assert answer.status_code == 503
    assert "send fewer images" in answer.json()["detail"]


def _add_case(interface: Interface, image: bytes, accession: str | None = None) -> int:
    plan = CasePlan(interface.account(Role.READER).id, "100X", accession)
    result = next(add_images(interface.sessions, interface.installation.files, plan, [("a.png", image)]))
    assert result.case_id is not None, result
    return result.case_id


def _encode_again(png: bytes) -> bytes:
    """Return the same pixels in a file of other bytes."""
    buffer = BytesIO()
    Image.open(BytesIO(png)).save(buffer, "PNG", compress_level=9)
    assert buffer.getvalue() != png
    return buffer.getvalue()
