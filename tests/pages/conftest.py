"""An installation that the pages find through the environment, as in real life."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner

from tests.helpers.app_pages import forget_cached, installed_components
from tests.helpers.world import CARD, World, open_world, write_card


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty installation with real files; its checkpoint has a card and no weights."""
    checkpoint = tmp_path / "telltale.safetensors"
    write_card(checkpoint, CARD)
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", str(checkpoint))
    monkeypatch.delenv("SECOND_READ_DATABASE", raising=False)
    monkeypatch.delenv("SECOND_READ_IMPORT_ROOT", raising=False)
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", installed_components)
    forget_cached()
    with open_world(tmp_path / "data") as made:
        yield made
    forget_cached()
