"""The page of the model in service."""

import pytest

from core.card import checkpoint_sha256
from core.settings import Settings
from tests.reading_room import CARD, ReadingRoom, room, words_on

__all__ = ["room"]


def test_the_card_is_told_in_full(room: ReadingRoom) -> None:
    words = words_on(room.visit("models.py"))
    assert CARD.name in words
    assert checkpoint_sha256(Settings.from_environment().checkpoint) in words
    assert "often wrong" in words


def test_figures_stand_with_their_interval_and_protocol(room: ReadingRoom) -> None:
    table = room.visit("models.py").table[1].value
    assert "0.810 [0.700, 0.900]" in table.to_string()
    assert "out of fold" in table.to_string()


def test_a_missing_checkpoint_is_no_crash(room: ReadingRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", "/nowhere/gone.safetensors")
    assert "No model is in service" in room.visit("models.py").error[0].value
