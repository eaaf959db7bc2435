"""Nothing of the model is on the wire before a reader's first read, whatever they open and ask for."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_heatmap, encode_png, encode_scope_map, make_thumbnail, scale_to_grey
from core.labels import BINARY, LabelSet
from core.results import Analysis, Heatmap, Prediction, Quality, RgbImage, Scope
from db import store
from db.database import Sessions
from db.files import Files
from db.values.accounts import Role
from db.values.evaluations import EvaluatedImage
from db.values.jobs import StoredHeatmap
from db.values.reading import ModelIdentity, Opinion
from service.evaluation_for_reader import evaluate_images
from service.intake import CasePlan, add_images
from service.routes import router
from tests.helpers.browser_tab import clicking_tab
from tests.helpers.databases import open_new
from tests.helpers.evaluations import ABOUT, add_evaluation, made_evaluation, made_images
from tests.helpers.gate import GateClient
from tests.helpers.images.tissue import tissue_png
from tests.helpers.rows import OPENED
from tests.helpers.sent_bytes import SentBytes, spelled_number, spelled_text
from tests.helpers.server import running_server
from tests.helpers.stress import amount
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import PASSWORD, let_all_meet_the_model

pytestmark = pytest.mark.slow

CASES = amount(20, 3)
_PAGES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "pages").glob("*.py"))
_MODEL = ModelIdentity("7e117a1e77ab", "telltale network of the wire", demonstration=False)
_LABELS = LabelSet(
    "telltale set", ("qzbenignkappa", "qzmalignantomega", "qzmalignantsigma"), ("qzmalignantomega", "qzmalignantsigma")
)
_THRESHOLD = 0.43829
_STRANGE = "qzstrangecolours"
_SCOPE = Scope("unusual", 1.4127, 1.0917, 2.3081, (_STRANGE,))
_MAP_ROUTES = ("/heatmap", "/scope-map")
_WORDS = (
    *("Model says", "patches malignant", "probability of malignancy", *_MAP_ROUTES),
    *(*_LABELS.classes, _LABELS.name),
    *("rely less on the model", "unusual for the model", _STRANGE),
    *("Similar signed-off cases", "Image of a similar case"),
)


@dataclass(frozen=True, slots=True)
class _Case:
    """What the model says of a case of one image, and what its files are."""

    case_id: int
    image_id: int
    probability: float
    map: StoredHeatmap
    grey: bytes
    scope_map: str  # its file
    scope_grey: bytes
    pixels: RgbImage
    evaluated: str  # the name of its picture in an evaluation

    @property
    def spellings(self) -> list[bytes]:
        """Everything that would tell what the model says of this case."""
        numbers = [
            spelled_number(value) for value in (self.probability, 1 - self.probability, self.map.low, self.map.high)
        ]
        shown = [f"width:{self.probability:.1%}".encode(), f"malignancy {self.probability:.2f}".encode()]
        files = (self.map.file_sha256, self.scope_map)
        sha256 = [each for file in files for each in (*spelled_text(file), bytes.fromhex(file))]
        in_evaluation = [f"malignant {self.probability:.3f}".encode(), *spelled_text(self.evaluated)]
        # Past the header, which is the same for every picture of this size.
        maps = [grey[100:140] for grey in (self.grey, self.scope_grey)]
        return [*(each for number in numbers for each in number), *shown, *in_evaluation, *sha256, *maps]


@dataclass(frozen=True)
class _Served:
    house: GateClient
    sessions: Sessions
    cases: list[_Case]
    tap: SentBytes


def _probability(place: int) -> float:
    # Neither rising nor falling with the number of the case, so that an order made of it shows.
    return 0.03127 + 0.91 * ((place * 7 + 1) % CASES) / CASES


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Served]:
    """A server whose cases are all analysed, and read to the end by another reader."""
    data: Path = tmp_path_factory.mktemp("wire")
    sessions, files = open_new(data / "second_read.sqlite"), Files(data / "files")
    with sessions.begin() as session:
        for role in Role:
            store.accounts.add_signing_account(session, None, f"the {role}", role, PASSWORD)
        other, _ = (
            store.accounts.add_signing_account(session, None, name, Role.READER, PASSWORD)
            for name in ("the other reader", "the reader who saves")
        )
    cases = [_add(sessions, files, other.id, place) for place in range(CASES)]
    for case in cases:
        with sessions.begin() as session:
            store.reads.record_first_read(session, case.case_id, other.id, Opinion(None, None), OPENED)
            store.reads.record_final_read(session, case.case_id, other.id, Opinion(None, None), OPENED)
    _evaluate(sessions, cases)
    let_all_meet_the_model(sessions)
    with running_server(data, "127.0.0.1") as server:
        yield _Served(GateClient(server.port, sessions), sessions, cases, SentBytes(server.port))
    sessions.dispose()


def _add(sessions: Sessions, files: Files, account_id: int, place: int) -> _Case:
    (taken,) = add_images(sessions, files, CasePlan(account_id, "100X"), [(f"{place}.png", tissue_png(place))])
    pixels = decode_image(tissue_png(place)).pixels
    heatmap: Heatmap = np.random.default_rng(place).normal(0, 1, pixels.shape[:2]).astype(np.float32)
    low, high = float(heatmap.min()), float(heatmap.max())
    stored = StoredHeatmap(files.put(encode_heatmap(heatmap)), low, high)
    strange: Heatmap = np.random.default_rng(1000 + place).normal(1, 0.2, pixels.shape[:2]).astype(np.float32)
    scope_map = files.put(encode_scope_map(strange))
    malignant = _probability(place)
    said = Prediction(_LABELS, (1 - malignant, malignant / 2, malignant / 2), _THRESHOLD, 3, 9)
    with sessions.begin() as session:
        job = store.jobs.claim_job(session, "w")
        assert job is not None
        analysis = Analysis(pixels.shape[0], pixels.shape[1], Quality(100, 0.9), said, scope=_SCOPE)
        assert store.jobs.finish_job(
            session, job, "w", analysis, model=_MODEL, heatmap=stored, scope_map_sha256=scope_map
        )
    assert taken.case_id is not None
    assert taken.image_id is not None
    grey, scope_grey = (encode_png(scale_to_grey(each)[0]) for each in (heatmap, strange))
    ids = taken.case_id, taken.image_id
    return _Case(*ids, malignant, stored, grey, scope_map, scope_grey, pixels, f"qzslide{place:03}")


def _evaluate(sessions: Sessions, cases: list[_Case]) -> None:
    """Store an evaluation of the pictures of all cases, by their file or their pixels, and of some others."""
    pictures = [
        EvaluatedImage(
            position=place,
            name=f"{case.evaluated}.png",
            patient_id=f"patient of {case.evaluated}",
            magnification="100X",
            label=BINARY.classes[place % 2],
            predicted=BINARY.classes[case.probability >= ABOUT.threshold],
            malignant=bool(place % 2),
            called_malignant=case.probability >= ABOUT.threshold,
            malignant_probability=case.probability,
            probabilities=(1 - case.probability, case.probability),
            source_sha256=sha256(tissue_png(place) if place % 2 else b"another file").hexdigest(),
            file_sha256=sha256(b"other pixels" if place % 2 else encode_png(case.pixels)).hexdigest(),
        )
        for place, case in enumerate(cases)
    ]
    # The others are shown: none may have a probability that, as it is written, is also that of a case.
    written = {f"{case.probability:.3f}" for case in cases}
    others = [one for one in made_images(BINARY) if f"{one.malignant_probability:.3f}" not in written]
    others = [
        replace(one, position=len(pictures) + place, source_sha256="0" * 64, file_sha256="0" * 64)
        for place, one in enumerate(others)
    ]
    images = [*pictures, *others]
    add_evaluation(sessions, evaluate_images(images, made_evaluation(BINARY)), images)


def _routes(case: _Case) -> list[str]:
    """Give every route of ours for a case, with and without parameters that somebody may try."""
    paths = [str(getattr(route, "path", "")) for route in router.routes]
    filled = [re.sub(r"\{[^}]*image[^}]*\}", str(case.image_id), path) for path in paths]
    filled = [re.sub(r"\{[^}]*\}", str(case.case_id), path) for path in filled]
    return [path + query for path in filled for query in ("", "?reveal=1&model=1&order=uncertainty")]


def _look_at_everything(served: _Served, role: Role) -> None:
    """Open every page, play with every case without saving, and ask every route."""
    cookie, tap = served.house.cookie(f"the {role}"), served.tap
    tap.heard.clear()
    with clicking_tab(served.house.port, cookie) as tab:
        for page in ("", *_PAGES):
            tab.open(page, f"case={served.cases[0].case_id}&reveal=1&sort=model")
            if page == "evaluation":
                assert f"{CASES} images left out" in tab.words, "the reader is told that something is left out"
                for view in ("Images", "Patients", "Groups"):
                    tab.choose("View", view)
        for case in served.cases:
            if role is Role.READER:
                tab.open("read_case", f"case={case.case_id}")
                tab.press("▲", "5")
            for path in _routes(case):
                tap.ask(path, Cookie=cookie)
            tap.ask(f"/images/{case.image_id}/heatmap", "HEAD", Cookie=cookie)
            tap.ask(f"/images/{case.image_id}/heatmap", Cookie=cookie, Range="bytes=0-50")
            tap.ask(f"/images/{case.image_id}/scope-map", Cookie=cookie, Range="bytes=0-50")
            tap.ask(f"/media/{case.map.file_sha256}.png", Cookie=cookie)
        for address in sorted(set(re.findall(r"/media/[\w.-]+", tab.all_words))):
            tap.ask(address, Cookie=cookie)
        tap.note("websocket", tab.received)


def _assert_blind(tap: SentBytes, cases: list[_Case]) -> None:
    for case in cases:
        assert tap.places_of(case.spellings) == [], case
    # The description of the routes names those that give maps to readers who may have them.
    for word in _WORDS:
        found = [
            place
            for place in tap.places_of(spelled_text(word))
            if "openapi.json" not in place and "/assets/" not in place
        ]
        assert [place for place in found if not (word in _MAP_ROUTES and place.startswith(("GET", "HEAD")))] == []
    for word in (_MODEL.name, _MODEL.version):
        assert tap.places_of(spelled_text(word)) == []
    assert tap.places_of(spelled_number(_THRESHOLD)) == []


# Researchers see what the model said of finished readings, and never a case; administrators see neither.
@pytest.mark.parametrize("role", [Role.READER, Role.ADJUDICATOR], ids=str)
def test_nothing_of_the_model_is_sent_before_the_first_read(served: _Served, role: Role) -> None:
    _look_at_everything(served, role)
    _assert_blind(served.tap, served.cases)
    print(f"\n{role}: {len(served.tap.heard)} messages, {sum(len(d) for _, d in served.tap.heard):,} bytes")


def test_who_has_finished_the_cases_finds_their_pictures_in_the_evaluation(served: _Served) -> None:
    """This shows that the search above would find them."""
    with served.sessions.begin() as session:
        reader = store.accounts.account_named(session, "the other reader")
        assert reader is not None
        store.reads.end_undo(session, reader.id)
    served.tap.heard.clear()
    with clicking_tab(served.house.port, served.house.cookie("the other reader")) as tab:
        tab.open("evaluation")
        tab.choose("View", "Patients")
        served.tap.note("websocket", tab.received)
    for case in served.cases:
        assert served.tap.places_of(spelled_text(case.evaluated)), case.evaluated


def test_the_images_are_the_tissue_and_nothing_else(served: _Served) -> None:
    cookie = served.house.cookie("the reader")
    for case in served.cases:
        for path, wanted in (("", case.pixels), ("/thumbnail", make_thumbnail(case.pixels))):
            answered = served.tap.ask(f"/images/{case.image_id}{path}", Cookie=cookie)
            assert np.array_equal(decode_image(answered.body).pixels, wanted)
        for route in _MAP_ROUTES:
            assert served.tap.ask(f"/images/{case.image_id}{route}", Cookie=cookie).status == 403


def _without_the_model(served: _Served) -> list[_Case]:
    """Sort cases as a reader would without any model: the oldest first, and last those that others have open."""
    with served.sessions.read() as session:
        reader = store.accounts.account_named(session, "the reader")
        assert reader is not None
        taken = {row.id: bool(row.open_with) for row in whole_worklist(session, reader.id)}
    return sorted(served.cases, key=lambda case: (taken[case.case_id], case.case_id))


def test_the_order_of_the_cases_says_nothing_of_the_model(served: _Served) -> None:
    by_model = sorted(served.cases, key=lambda case: case.probability)
    assert [case.case_id for case in by_model] not in (
        sorted(c.case_id for c in by_model),
        sorted((c.case_id for c in by_model), reverse=True),
    )
    with clicking_tab(served.house.port, served.house.cookie("the reader")) as tab:
        tab.open("worklist")
        # The table comes as Arrow, in which words stand one after the other.
        (table,) = {
            tuple(re.findall(rb"C-\d{4}", message))
            for message in tab.received
            if b"ARROW1" in message or b"C-0001" in message
        }
        ordered = _without_the_model(served)
        assert table == tuple(f"C-{case.case_id:04}".encode() for case in ordered)
        following: list[int] = []
        for _ in range(CASES - 1):
            tab.press("Read next") if not following else tab.press("Skip to next")
            following.append(int(re.findall(r"/images/(\d+)", tab.words)[0]))
        assert following == [case.image_id for case in ordered][: CASES - 1]


def test_after_the_first_read_it_is_there_and_of_this_case_only(served: _Served) -> None:
    case, *others = served.cases
    cookie = served.house.cookie("the reader who saves")
    served.tap.heard.clear()
    with clicking_tab(served.house.port, cookie) as tab:
        tab.open("read_case", f"case={case.case_id}")
        tab.press("▲", "4", "Save and reveal")
        served.tap.note("websocket", tab.received)
    answered = served.tap.ask(f"/images/{case.image_id}/heatmap", Cookie=cookie)
    assert answered.body == case.grey
    assert served.tap.ask(f"/images/{case.image_id}/scope-map", Cookie=cookie).body == case.scope_grey
    for word in (
        "Model says",
        "patches malignant",
        *_MAP_ROUTES,
        _MODEL.name,
        _MODEL.version,
        "rely less on the model",
        _STRANGE,
    ):
        assert served.tap.places_of(spelled_text(word)), word
    for value in (case.map.low, case.map.high):
        assert served.tap.places_of(spelled_number(value)), value
    assert served.tap.places_of([f"width:{case.probability:.1%}".encode()])
    assert served.tap.places_of([case.grey[100:140]])
    for other in others:
        assert served.tap.places_of(other.spellings) == []


def test_every_spelling_is_found_where_it_stands() -> None:
    tap = SentBytes(0)
    for before in (b"", b"a", b"ab"):
        tap.heard[:] = [("here", base64.b64encode(before + b"telltale" + b"after"))]
        assert tap.places_of(spelled_text("telltale"))
