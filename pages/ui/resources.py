"""What every page shares: settings, database, files, reader and checkpoint; the only cached things in the project."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.card import Card, UnusableCheckpointError, checkpoint_sha256, model_version, read_card
from core.settings import Settings
from db import store
from db.files import Files
from db.session import Sessions, open_database
from db.values import Account
from service.watcher import Watcher


@dataclass(frozen=True, slots=True)
class CheckpointInService:
    """The checkpoint that the worker uses: its card, or the problem that keeps it from being used."""

    path: Path
    sha256: str = ""
    card: Card | None = None
    problem: str | None = None

    @property
    def version(self) -> str:
        """The twelve hex digits that stand beside every result."""
        return model_version(self.sha256)


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Read the environment once for all sessions."""
    return Settings.from_environment()


@st.cache_resource(show_spinner=False)
def sessions() -> Sessions:
    """Open the database once for all sessions."""
    settings().data.mkdir(parents=True, exist_ok=True)
    return open_database(settings().database)


@st.cache_resource(show_spinner=False)
def files() -> Files:
    """Open the folder of images and heat maps once for all sessions."""
    return Files(settings().files)


@st.cache_resource(show_spinner=False)
def account() -> Account:
    """Give the one reader of single-reader mode."""
    with sessions().begin() as session:
        return store.single_reader(session)


def worker_problem() -> str | None:
    """Say why the worker of this server cannot analyse images; None when all is well, or outside the server."""
    return Watcher.running.problem if Watcher.running else None


def checkpoint() -> CheckpointInService:
    """Read the card of the checkpoint in service, again only when the file has changed."""
    path = settings().checkpoint
    return _read_checkpoint(path, path.stat().st_mtime_ns if path.is_file() else None)


@st.cache_data(show_spinner=False)
def _read_checkpoint(path: Path, modified_ns: int | None) -> CheckpointInService:
    if modified_ns is None:
        return CheckpointInService(path, problem=f"there is no checkpoint at {path}")
    try:
        return CheckpointInService(path, checkpoint_sha256(path), read_card(path))
    except UnusableCheckpointError as error:
        return CheckpointInService(path, problem=str(error))
