"""Puts a checkpoint into service, after it was loaded for trial in a process of its own."""

import subprocess
import sys
from pathlib import Path

from core.card import UnusableCheckpointError, checkpoint_sha256, model_version, read_card
from core.settings import Settings
from db import store
from db.database import Sessions
from db.values.evaluations import Deployment
from service.worker.supervisor import worker_environment
from service.worker.worker import READY, TRY, UNUSABLE

_PATIENCE_SECONDS = 300.0  # loading torch and a large network on a busy machine


def deploy(sessions: Sessions, settings: Settings, path: Path, account_id: int) -> Deployment:
    """Try a checkpoint and put it into service; the worker takes it up after the image it has in hand.

    Raises:
        UnusableCheckpointError: If it cannot be put to work; the message says why, and nothing has changed.
    """
    card, sha256 = read_card(path), checkpoint_sha256(path)
    if _loaded_version(settings, path) != model_version(sha256):
        raise UnusableCheckpointError(f"{path.name} was changed while it was tried: wait until it is written")
    with sessions.begin() as session:
        return store.models.put_in_service(session, account_id, str(path), sha256, card.name)


def _loaded_version(settings: Settings, path: Path) -> str:
    # A process of its own, because the server must not load torch.
    command = [sys.executable, "-P", "-m", "service.worker", TRY, str(path)]
    try:
        tried = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(settings),
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnusableCheckpointError(f"{path.name} could not be loaded in {_PATIENCE_SECONDS:.0f} s") from error
    word, _, rest = tried.stdout.strip().partition("\n")[0].partition(" ")
    if word == READY:
        return rest
    if word == UNUSABLE:
        raise UnusableCheckpointError(rest)
    raise UnusableCheckpointError(
        f"{path.name} could not be loaded (status {tried.returncode}); the log of the server has more"
    )
