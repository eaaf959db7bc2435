"""Puts a checkpoint into service after a trial load in a separate process."""

import subprocess
import sys
from pathlib import Path

from core.card import UnusableCheckpointError, checkpoint_sha256, model_version, read_card
from core.settings import Settings
from db import store
from db.database import Sessions
from db.values.evaluations import Deployment
from service.worker.protocol import READY, TRY, UNUSABLE
from service.worker.supervisor import worker_environment

_PATIENCE_SECONDS = 300.0  # loading torch and a large network on a busy machine


def put_into_service(sessions: Sessions, settings: Settings, path: Path, account_id: int) -> Deployment:
    """Try a checkpoint and put it into service; the worker switches to it after its current image.

    Raises:
        UnusableCheckpointError: If it cannot be used; the message says why, and nothing has changed.
    """
    card, sha256 = read_card(path), checkpoint_sha256(path)
    if _loaded_version(settings, path) != model_version(sha256):
        raise UnusableCheckpointError(
            f"{path.name} changed while it was being checked: wait until it is completely written, then try again"
        )
    with sessions.begin() as session:
        return store.models.put_in_service(session, account_id, str(path), sha256, card.name)


def _loaded_version(settings: Settings, path: Path) -> str:
    # In a separate process, because the server must not load torch.
    command = [sys.executable, "-P", "-m", "service.worker", TRY, str(path)]
    try:
        trial = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(settings),
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnusableCheckpointError(f"{path.name} could not be loaded within {_PATIENCE_SECONDS:.0f} s") from error
    word, _, rest = trial.stdout.strip().partition("\n")[0].partition(" ")
    if word == READY:
        return rest
    if word == UNUSABLE:
        raise UnusableCheckpointError(rest)
    raise UnusableCheckpointError(
        f"{path.name} could not be loaded (status {trial.returncode}); the server log has details"
    )
