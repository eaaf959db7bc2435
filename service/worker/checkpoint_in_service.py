"""The checkpoint in service, and the other checkpoints that can be put into service."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from sqlalchemy.orm import Session

from core.card import Card, UnusableCheckpointError, checkpoint_sha256, model_version, read_card
from core.run_history import CHECKPOINT_FILE
from core.settings import Settings
from db import store
from db.database import Sessions
from db.values.evaluations import Deployment, RunState


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A checkpoint on disk: its card, or the problem that prevents its use."""

    path: Path
    sha256: str = ""
    card: Card | None = None
    problem: str | None = None

    @property
    def version(self) -> str:
        """The twelve hex digits that identify the checkpoint beside every result."""
        return model_version(self.sha256)


@dataclass(frozen=True, slots=True)
class CheckpointInService:
    """The checkpoint in service; `deployment` is None while it is the one from the settings."""

    path: Path
    deployment: Deployment | None = None

    def check_unchanged(self, sha256: str) -> None:
        """Check that the file is still the one that was put into service.

        Raises:
            UnusableCheckpointError: If its sha256 differs from the one that was put into service.
        """
        if self.deployment is not None and self.deployment.sha256 != sha256:
            raise UnusableCheckpointError(
                f"{self.path.name} has changed since it was put into service (version "
                f"{model_version(self.deployment.sha256)} then, {model_version(sha256)} now): "
                "restore the file, or put another checkpoint into service on the Models page"
            )

    def check_file(self, file: CheckpointFile) -> CheckpointFile:
        """Return the file; with a problem and no card if it has changed since it was put into service."""
        try:
            if file.card is not None:
                self.check_unchanged(file.sha256)
        except UnusableCheckpointError as error:
            return replace(file, card=None, problem=str(error))
        return file


def read_checkpoint(path: Path) -> CheckpointFile:
    """Read the card of a checkpoint and the sha256 of all of it, which takes long."""
    if not path.is_file():
        return CheckpointFile(path, problem=f"there is no checkpoint at {path}")
    try:
        card = read_card(path)
        return CheckpointFile(path, checkpoint_sha256(path), card)
    except UnusableCheckpointError as error:
        return CheckpointFile(path, problem=str(error))


def read_checkpoint_in_service(sessions: Sessions, settings: Settings) -> CheckpointFile:
    """Return the file of the checkpoint in service; it is read again only when it has changed."""
    with sessions.read() as session:
        in_service = find_checkpoint_in_service(session, settings)
    path = in_service.path
    status = path.stat() if path.is_file() else None
    return in_service.check_file(_read_once(path, (status.st_mtime_ns, status.st_size) if status else None))


@lru_cache(maxsize=4)
def _read_once(path: Path, _: tuple[int, int] | None) -> CheckpointFile:
    return read_checkpoint(path)


def find_checkpoint_in_service(session: Session, settings: Settings) -> CheckpointInService:
    """Return the checkpoint that was last put into service, or the one from the settings if there is none."""
    deployment = store.models.in_service(session)
    return (
        CheckpointInService(Path(deployment.path), deployment)
        if deployment
        else CheckpointInService(settings.checkpoint)
    )


def list_checkpoints(session: Session, settings: Settings) -> list[Path]:
    """List the checkpoint in service, those beside the one in the settings, those of this site, those of finished runs.

    Each is listed once.
    """
    beside = sorted(settings.checkpoint.parent.glob("*.safetensors"))
    fitted = sorted(settings.fitted_checkpoints.glob("*.safetensors"))
    finished = [
        Path(run.folder) / CHECKPOINT_FILE for run in store.models.runs(session) if run.state is RunState.FINISHED
    ]
    paths = [
        find_checkpoint_in_service(session, settings).path,
        *beside,
        *fitted,
        *(path for path in finished if path.is_file()),
    ]
    return list(dict.fromkeys(path.resolve() for path in paths))
