"""What every page shares: settings, database, files, reader and checkpoint; the only cached things in the project."""

from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.card import Card, UnusableCheckpointError, checkpoint_sha256, model_version, read_card
from core.imaging.heatmaps import paint_preview
from core.settings import Settings
from db import store
from db.database import Sessions
from db.files import Files
from db.values.accounts import ALLOWED, Permission
from db.values.evaluations import EvaluationRow
from db.values.reading import Account, Role
from service.access.sessions import cookie_secret
from service.installation import Installation, find_served
from service.paired_evaluations import Paired, compare_stored
from service.worker.checkpoint_in_service import Chosen, chosen_checkpoint


def reader_name() -> str:
    """Name the reader of this session."""
    return account().name


_PREVIEWS_KEPT = 512  # about 150 kB each
_PAIRS_KEPT = 64


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A checkpoint on disk: its card, or the problem that keeps it from being used."""

    path: Path
    sha256: str = ""
    card: Card | None = None
    problem: str | None = None

    @property
    def version(self) -> str:
        """The twelve hex digits that stand beside every result."""
        return model_version(self.sha256)


def installation() -> Installation:
    """Return the installation of the server; without a server, as in tests, one that is opened for the pages."""
    return find_served() or _open_without_server()


@st.cache_resource(show_spinner=False, on_release=Installation.close)
def _open_without_server() -> Installation:
    return Installation.open(Settings.from_environment())


def settings() -> Settings:
    """Return the settings, which were read once for all sessions."""
    return installation().settings


def sessions() -> Sessions:
    """Return the database, which was opened once for pages and routes."""
    return installation().sessions


def files() -> Files:
    """Return the folder of images and heat maps."""
    return installation().files


def account() -> Account:
    """Give who is signed in, asked anew at every run; the one reader in single-reader mode."""
    found = _signed_in()
    if found is None:
        st.error(
            "You are signed out. Load the page again to sign in; what you saved is kept, "
            "and an opinion that you were typing comes back in this tab."
        )
        st.stop()
    return found


def single_reader_mode() -> bool:
    """Say whether nobody can sign in, so that everyone at this computer is the same reader."""
    with sessions().read() as session:
        return not store.accounts.has_accounts(session)


def may(permission: Permission) -> bool:
    """Say whether who is signed in may do something; the store refuses it anyway."""
    return single_reader_mode() or permission in ALLOWED[account().role]


def reads_in_studies() -> bool:
    """Say whether who is signed in is a reader of any study."""
    reader = account().id
    with sessions().read() as session:
        return store.study_reading.reads_in_studies(session, reader)


def sees_names() -> bool:
    """Say whether who is signed in may know the names of people and images; researchers get numbers for them."""
    return account().role is not Role.RESEARCHER


def remember_tab() -> None:
    """Tell the gate whose this browser tab is."""
    context = get_script_run_ctx()
    if context is not None:
        installation().tabs.opened(context.session_id, account().id)


def _signed_in() -> Account | None:
    if single_reader_mode():
        return installation().single_reader
    # Of the websocket, as the browser sent it when it opened: the gate closes it when the sign-in ends.
    secret = cookie_secret(st.context.headers.get_all("cookie"))
    with sessions().read() as session:
        return store.sign_ins.signed_in(session, secret)


@st.cache_data(show_spinner=False, max_entries=_PREVIEWS_KEPT)
def preview(preview_sha256: str, heatmap_sha256: str | None) -> bytes:
    """Give the preview of an evaluated image, with its heat map painted over it if one is named."""
    picture = files().get(preview_sha256)
    return paint_preview(picture, files().get(heatmap_sha256)) if heatmap_sha256 else picture


@st.cache_data(show_spinner="Comparing on the same images …", max_entries=_PAIRS_KEPT)
def paired(first: EvaluationRow, second: EvaluationRow) -> Paired:
    """Compare two stored evaluations; they never change."""
    return compare_stored(sessions(), first, second)


def worker_problem() -> str | None:
    """Say why the worker of this server cannot analyse images; None when all is well, or outside the server."""
    return installation().supervisor.problem


def chosen() -> Chosen:
    """Say which checkpoint was put into service, or that of the settings if none ever was."""
    with sessions().read() as session:
        return chosen_checkpoint(session, settings())


def checkpoint() -> CheckpointFile:
    """Give the checkpoint in service; its problem, without a card, if it is not what was put there."""
    in_service = chosen()
    found = checkpoint_file(in_service.path)
    try:
        if found.card is not None:
            in_service.check_unchanged(found.sha256)
    except UnusableCheckpointError as error:
        return replace(found, card=None, problem=str(error))
    return found


def checkpoint_file(path: Path) -> CheckpointFile:
    """Read the card of a checkpoint, again only when the file has changed."""
    status = path.stat() if path.is_file() else None
    return _read_checkpoint(path, (status.st_mtime_ns, status.st_size) if status else None)


@st.cache_data(show_spinner="Reading a checkpoint …")
def _read_checkpoint(path: Path, state: tuple[int, int] | None) -> CheckpointFile:
    if state is None:
        return CheckpointFile(path, problem=f"there is no checkpoint at {path}")
    try:
        card = read_card(path)
        return CheckpointFile(path, checkpoint_sha256(path), card)
    except UnusableCheckpointError as error:
        return CheckpointFile(path, problem=str(error))
