"""What all pages share: settings, database, files, account and checkpoint; the only caches of Streamlit."""

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.computing import Computing
from core.settings import Settings
from core.statistics.evaluation import Evaluation, TriedThreshold
from db import store
from db.database import Sessions
from db.files import Files
from db.values.accounts import ALLOWED, Account, Permission, Role
from db.values.agreement import MapVotes
from db.values.evaluations import EvaluatedImage, EvaluationRow, HiddenImages, shipped_folder
from service.access.sessions import cookie_secret
from service.installation import Installation, find_served
from service.preview import Preview, make_preview
from service.shipped_evaluations import FoundMapTrust, Shipped, find_picture, read_map_trust, read_shipped
from service.visible_evaluations import VisibleEvaluations
from service.worker.checkpoint_in_service import (
    CheckpointFile,
    CheckpointInService,
    find_checkpoint_in_service,
    read_checkpoint,
)

if TYPE_CHECKING:
    from service.paired_evaluations import PairedComparison

_CACHED_PREVIEWS = 512  # about 150 kB each
_CACHED_UPLOADS = 256  # about 30 kB each
_CACHED_PAIRS = 64
_CACHED_SHIPPED = 4
_CACHED_VOTES = 64

_SIGN_IN_CHECK_SECONDS = 2.0

_SIGNED_OUT = (
    "You are signed out. Reload the page to sign in, or sign in in another tab and this page continues. "
    "Saved work is kept, and an opinion that you were typing will reappear in this tab."
)


def installation() -> Installation:
    """Return the installation of the server; without a server, as in tests, open one for the pages."""
    return find_served() or _open_without_server()


@st.cache_resource(show_spinner=False, on_release=Installation.close)
def _open_without_server() -> Installation:
    return Installation.open(Settings.from_environment())


def settings() -> Settings:
    """Return the settings, which are read once for all sessions."""
    return installation().settings


def sessions() -> Sessions:
    """Return the database, which is opened once for pages and routes."""
    return installation().sessions


def files() -> Files:
    """Return the folder of images and heat maps."""
    return installation().files


def account() -> Account:
    """Return the signed-in account, checked at every run; in single-reader mode the single reader.

    Without a sign-in, show an error and end the page run.
    """
    signed_in = _signed_in()
    if signed_in is None:
        st.error(_SIGNED_OUT)
        _continue_after_sign_in()
        st.stop()
    return signed_in


@st.fragment(run_every=_SIGN_IN_CHECK_SECONDS)
def _continue_after_sign_in() -> None:
    """Draw the page again once its reader has signed in in another tab."""
    if _signed_in() is not None:
        st.rerun()


def reader_name() -> str:
    """Return the name of the signed-in account."""
    return account().name


def single_reader_mode() -> bool:
    """Return whether there are no accounts, so that everyone at this computer is the same reader."""
    with sessions().read() as session:
        return not store.accounts.has_accounts(session)


def may(permission: Permission) -> bool:
    """Return whether the signed-in account has a permission; the store checks it again in any case."""
    return single_reader_mode() or permission in ALLOWED[account().role]


def reads_in_studies() -> bool:
    """Return whether the signed-in account is a reader of any study."""
    reader = account().id
    with sessions().read() as session:
        return store.study_reading.reads_in_studies(session, reader)


def sees_names() -> bool:
    """Return whether the signed-in account may see names of people and images; researchers see numbers instead."""
    return account().role is not Role.RESEARCHER


def remember_tab() -> None:
    """Record for the gate that this browser tab belongs to the signed-in account."""
    context = get_script_run_ctx()
    if context is not None:
        installation().tabs.opened(context.session_id, account().id)


def _signed_in() -> Account | None:
    if single_reader_mode():
        return installation().single_reader
    # The cookie that the browser sent when the websocket opened; the gate closes it when the sign-in ends.
    secret = cookie_secret(st.context.headers.get_all("cookie"))
    with sessions().read() as session:
        return store.sign_ins.signed_in(session, secret)


@st.cache_data(show_spinner=False, max_entries=_CACHED_PREVIEWS)
def load_preview(preview_sha256: str, heatmap_sha256: str | None) -> bytes:
    """Return the preview of an evaluated image as PNG, with its heat map painted over it if a hash is given."""
    # Imports of what only some visits need are in the functions: a page is to open in half a second.
    from core.imaging.heatmaps import paint_preview  # noqa: PLC0415

    picture = files().get(preview_sha256)
    return paint_preview(picture, files().get(heatmap_sha256)) if heatmap_sha256 else picture


@st.cache_data(show_spinner="Reading the images …", max_entries=_CACHED_UPLOADS)
def preview_upload(data: bytes) -> Preview:
    """Return the thumbnail of an image that was chosen and not stored yet."""
    return make_preview(data)


@st.cache_data(show_spinner="Comparing on the same images …", max_entries=_CACHED_PAIRS)
def compare_pair(
    account_id: int,
    hidden: tuple[HiddenImages | None, HiddenImages | None],
    first: EvaluationRow,
    second: EvaluationRow,
) -> "PairedComparison":
    """Compare two stored evaluations; cached, because only what is hidden from the account changes."""
    from service.paired_evaluations import compare_stored  # noqa: PLC0415

    return compare_stored(evaluations_for(account_id), first, second)


@st.cache_data(show_spinner="Measuring without the images of unread cases …", max_entries=_CACHED_PAIRS)
def measure_visible(account_id: int, hidden: HiddenImages, row: EvaluationRow) -> Evaluation | None:
    """Measure the images of an evaluation that an account may see; cached until something else is hidden from it."""
    from service.evaluation_for_reader import evaluate_images  # noqa: PLC0415

    images = evaluations_for(account_id).all_images(row)
    return evaluate_images(images, Evaluation.from_json(row.document)) if images else None


def measure_for_account(row: EvaluationRow) -> Evaluation | None:
    """Return an evaluation without the pictures of unfinished cases, as on its own page; None if nothing is left."""
    hidden = evaluations().hidden(row)
    if hidden is None or not hidden.positions:
        return Evaluation.from_json(row.document)
    return measure_visible(account().id, hidden, row)


@st.cache_data(show_spinner=False, max_entries=_CACHED_PAIRS)
def try_threshold(
    account_id: int, hidden: HiddenImages | None, row: EvaluationRow, threshold: float
) -> TriedThreshold | None:
    """Return what another threshold would give on the images that an account may see; None if it may see none."""
    from service.evaluation_for_reader import try_on_images  # noqa: PLC0415

    images = evaluations_for(account_id).all_images(row)
    return try_on_images(images, threshold) if images else None


def evaluations() -> VisibleEvaluations:
    """Return the evaluations that the signed-in account may see."""
    return evaluations_for(account().id)


def evaluations_for(account_id: int) -> VisibleEvaluations:
    """Return the evaluations that an account may see."""
    return VisibleEvaluations(sessions(), account_id, shipped())


def shipped() -> Shipped:
    """Return the evaluations that came with the checkpoint in service; cached until their files change."""
    file = checkpoint()
    folder = shipped_folder(file.path)
    if file.card is None or not folder.is_dir():
        return Shipped()
    states = ((path, path.stat()) for path in sorted(folder.rglob("*")))
    return _read_shipped(file.path, file.version, tuple((str(path), s.st_mtime_ns, s.st_size) for path, s in states))


def map_trust(file: CheckpointFile) -> FoundMapTrust:
    """Return how far the heat maps of a checkpoint can be trusted, as far as that was measured."""
    return read_map_trust(file.path, file.version, settings().evaluations)


def map_votes(version: str) -> MapVotes:
    """Return what readers said of the heat maps of a version, as far as the account may know it.

    Cached until something is written.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    with sessions().read() as session:
        newest = store.agreement.newest_event(session)
    return _count_map_votes(account().id, version, newest)


@st.cache_data(show_spinner="Counting the votes …", max_entries=_CACHED_VOTES)
def _count_map_votes(account_id: int, version: str, newest_event: int) -> MapVotes:
    with sessions().read() as session:
        return store.agreement.map_votes(session, account_id, version)


@st.cache_data(show_spinner=False, max_entries=_CACHED_SHIPPED)
def _read_shipped(path: Path, version: str, states: tuple[tuple[str, int, int], ...]) -> Shipped:
    return read_shipped(path, version)


@st.cache_data(show_spinner=False, max_entries=_CACHED_PREVIEWS)
def load_original(image: EvaluatedImage, root: Path) -> bytes | None:
    """Return the thumbnail of an image of a shipped evaluation, if the folder of datasets has it."""
    found = find_picture(image, root)
    return found.thumbnail if found else None


def worker_problem() -> str | None:
    """Return why the worker of this server cannot analyse images; None if there is no problem or no server."""
    return installation().supervisor.problem


def computing() -> Computing | None:
    """Return how the workers of this server compute; None while none has said, or without a server."""
    return installation().supervisor.computing


def checkpoint_in_service() -> CheckpointInService:
    """Return the checkpoint in service."""
    with sessions().read() as session:
        return find_checkpoint_in_service(session, settings())


def checkpoint() -> CheckpointFile:
    """Return the file of the checkpoint in service; with a problem and no card if it has changed since."""
    in_service = checkpoint_in_service()
    return in_service.check_file(checkpoint_file(in_service.path))


def checkpoint_file(path: Path) -> CheckpointFile:
    """Read the card of a checkpoint; cached until the file changes."""
    status = path.stat() if path.is_file() else None
    return _read_checkpoint(path, (status.st_mtime_ns, status.st_size) if status else None)


@st.cache_data(show_spinner="Reading a checkpoint …")
def _read_checkpoint(path: Path, state: tuple[int, int] | None) -> CheckpointFile:
    return read_checkpoint(path)
