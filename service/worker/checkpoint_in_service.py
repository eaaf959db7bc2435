"""The checkpoint in service, and the other checkpoints that can be put into service."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from core.card import UnusableCheckpointError, model_version
from core.fitting.history import CHECKPOINT_FILE
from core.settings import Settings
from db import store
from db.values.evaluations import Deployment, RunState


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
                "restore the file, or put another checkpoint into service on the page Models"
            )


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
