"""Which checkpoint is in service, and which others there are to choose from."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from core.card import UnusableCheckpointError, model_version
from core.fitting.history import CHECKPOINT_FILE
from core.settings import Settings
from db import store
from db.values.evaluations import Deployment, RunState


@dataclass(frozen=True, slots=True)
class Chosen:
    """The checkpoint that is in service; `deployment` is None while it is the one of the settings."""

    path: Path
    deployment: Deployment | None = None

    def check_unchanged(self, sha256: str) -> None:
        """Refuse a file that is not the one that was put into service.

        Raises:
            UnusableCheckpointError: If another sha256 was put into service.
        """
        if self.deployment is not None and self.deployment.sha256 != sha256:
            raise UnusableCheckpointError(
                f"{self.path.name} has changed since it was put into service (it was version "
                f"{model_version(self.deployment.sha256)} and is {model_version(sha256)} now): "
                "restore the file, or put a checkpoint into service on the page Models"
            )


def chosen_checkpoint(session: Session, settings: Settings) -> Chosen:
    """Give the checkpoint that was put into service last, or that of the settings if none ever was."""
    deployment = store.models.in_service(session)
    return Chosen(Path(deployment.path), deployment) if deployment else Chosen(settings.checkpoint)


def known_checkpoints(session: Session, settings: Settings) -> list[Path]:
    """Give the checkpoint in service, those beside the one of the settings, and those of finished runs, each once."""
    beside = sorted(settings.checkpoint.parent.glob("*.safetensors"))
    finished = [
        Path(run.folder) / CHECKPOINT_FILE for run in store.models.runs(session) if run.state is RunState.FINISHED
    ]
    found = [chosen_checkpoint(session, settings).path, *beside, *(path for path in finished if path.is_file())]
    return list(dict.fromkeys(path.resolve() for path in found))
