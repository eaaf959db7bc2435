"""Where things are, as the environment says."""

from pathlib import Path

import pytest

from core.settings import Settings
from db.database import open_database


def test_everything_has_a_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment()
    assert settings.data == tmp_path / "data"
    assert settings.checkpoint.name == "starter.safetensors"
    assert settings.import_root is None


def test_a_data_folder_with_odd_characters_holds_the_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "50 % of a, b? ü"
    monkeypatch.setenv("SECOND_READ_DATA", str(folder))
    sessions = open_database(Settings.from_environment().database)
    sessions.dispose()
    assert (folder / "second_read.sqlite").is_file()


def test_the_database_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_READ_DATABASE", "postgresql+psycopg://server/second_read")
    assert Settings.from_environment().database == "postgresql+psycopg://server/second_read"


def test_a_password_can_stay_out_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "second_read_database").write_text("postgresql+psycopg://second_read:secret@server/second_read\n")
    monkeypatch.setenv("SECOND_READ_SECRETS", str(tmp_path))
    assert Settings.from_environment().database == "postgresql+psycopg://second_read:secret@server/second_read"
    monkeypatch.setenv("SECOND_READ_DATABASE", "postgresql+psycopg://other/second_read")
    assert Settings.from_environment().database == "postgresql+psycopg://other/second_read"


def test_a_folder_of_secrets_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECOND_READ_SECRETS", str(tmp_path / "secrets"))
    with pytest.raises(ValueError, match="SECOND_READ_SECRETS names"):
        Settings.from_environment()
