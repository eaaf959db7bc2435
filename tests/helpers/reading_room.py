"""A reading room for the tests of the pages: real database, real files, real pixels, and one fake classifier."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from core.card import Card, InputPolicy, Metric, TrainingData
from core.heatmaps import encode_heatmap, encode_png
from core.labels import BINARY
from core.pipeline import analyse
from core.settings import Settings
from db import store
from db.files import Files
from db.session import Sessions
from db.values import CaseView, ModelIdentity, Read, StoredHeatmap
from service.intake import CasePlan, take_in_all
from tests.helpers.databases import open_new
from tests.helpers.fakes import FakeClassifier

FRAME = Path(__file__).resolve().parents[2] / "pages" / "frame.py"
MODEL = ModelIdentity("0123456789ab", "telltale network", demonstration=True)
CARD = Card(
    name="telltale network",
    label_set=BINARY,
    branches=("test_efficientnet",),
    head="additive",
    input_policy=InputPolicy("patches", input_side=32, patch_side=224, stride=224),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    threshold=0.4375,
    training_data=TrainingData("BreaKHis", 240, 24),
    metrics=(Metric("AUC by image", 0.81, 0.7, 0.9, "out of fold, 24 patients"),),
    demonstration=True,
)
# A server looks once through all installed packages for components; a test tab would do it anew each time.
_installed_components = cache(manifest_scanner.scan_component_manifests)


@dataclass(frozen=True, slots=True)
class ReadingRoom:
    """One installation in a temporary folder."""

    sessions: Sessions
    files: Files
    reader: int

    def add_case(self, *seeds: int, accession: str | None = None, magnification: str | None = "100X") -> int:
        """Take in one case with an image for each seed."""
        plan = CasePlan(self.reader, magnification, accession)
        named = [(f"image {seed}.png", tissue(seed)) for seed in seeds]
        taken = list(take_in_all(self.sessions, self.files, plan, named))
        case_id = taken[0].case_id
        assert case_id is not None, taken
        return case_id

    def analyse_all(self, malignant: float = 0.8125) -> None:
        """Do what the worker does, with a classifier that answers one probability."""
        while True:
            with self.sessions.begin() as session:
                job = store.claim_job(session, "test")
            if job is None:
                return
            analysis = analyse(self.files.get(job.file_sha256), FakeClassifier(CARD, malignant))
            stored = None
            if analysis.heatmap is not None:
                low, high = float(analysis.heatmap.min()), float(analysis.heatmap.max())
                stored = StoredHeatmap(self.files.put(encode_heatmap(analysis.heatmap)), low, high)
            with self.sessions.begin() as session:
                assert store.finish_job(session, job, "test", analysis, model=MODEL, heatmap=stored)

    def fail_all(self, message: str) -> None:
        """End every queued job without a result."""
        while True:
            with self.sessions.begin() as session:
                job = store.claim_job(session, "test")
                if job is None:
                    return
                store.fail_job(session, job, "test", message)

    def case(self, case_id: int) -> CaseView:
        """Open a case as the reader."""
        with self.sessions.begin() as session:
            return store.open_case(session, case_id, self.reader)

    def reads(self, case_id: int) -> list[Read]:
        """Give all reads of a case, oldest first."""
        with self.sessions.read() as session:
            return store.own_reads(session, self.reader, case_id=case_id)

    def visit(self, page: str, **query: str) -> AppTest:
        """Open a page in a new browser tab."""
        tab = AppTest.from_file(str(FRAME), default_timeout=30)
        tab.switch_page(str(FRAME.parent / page))
        for name, value in query.items():
            tab.query_params[name] = value
        tab.run()
        assert not tab.exception, tab.exception
        return tab


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadingRoom]:
    """Open an empty reading room; pages find it through the environment, as in real life."""
    checkpoint = tmp_path / "telltale.safetensors"
    write_card(checkpoint, CARD)
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", str(checkpoint))
    monkeypatch.delenv("SECOND_READ_DATABASE", raising=False)
    monkeypatch.delenv("SECOND_READ_IMPORT_ROOT", raising=False)
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", _installed_components)
    _forget()
    settings = Settings.from_environment()
    sessions = open_new(settings.data / "second_read.sqlite")
    with sessions.begin() as session:
        reader = store.single_reader(session).id
    yield ReadingRoom(sessions, Files(settings.files), reader)
    sessions.dispose()
    _forget()


def write_card(path: Path, card: Card) -> None:
    """Write a checkpoint that has a card and no weights."""
    header = json.dumps({"__metadata__": {"card": card.to_json()}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def tissue(seed: int, height: int = 260, width: int = 320) -> bytes:
    """Make the bytes of a pink and purple image that no quality limit minds."""
    noise = np.random.default_rng(seed)
    pixels = np.array([200, 120, 170], np.float32) + noise.normal(0, 25, (height, width, 1)).astype(np.float32)
    return encode_png(np.clip(pixels, 0, 255).astype(np.uint8))


def words_on(tab: AppTest) -> str:
    """Give everything that was sent to the browser, as text: what is drawn and what only waits to be drawn."""
    found = [str(node.proto) for node in tab.main]
    frames = [str(frame.value.to_dict()) for frame in tab.dataframe]
    return "\n".join([*found, *frames])


def press(tab: AppTest, *words: str) -> AppTest:
    """Press buttons one after the other, each in a round trip of its own."""
    for each in words:
        found = next(button for button in tab.button if button.label.startswith(each))
        found.click().run()
        assert not tab.exception, tab.exception
    return tab


def _forget() -> None:
    st.cache_resource.clear()
    st.cache_data.clear()
