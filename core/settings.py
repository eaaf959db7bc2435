"""Paths and other settings, read from the environment once at startup and passed down."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.computing import WantedBackend, WantedComputing

_PROJECT = Path(__file__).resolve().parent.parent
_SECRETS = "SECOND_READ_SECRETS"  # a folder of files that are named like the settings
_SECRETS_OF_CONTAINERS = Path("/run/secrets")


class UnusableSettingError(ValueError):
    """The value of a setting is none that it may have; the message names the setting."""


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SECOND_READ_")

    data: Path = Path("data")
    database: str | None = None
    checkpoint: Path = _PROJECT / "models" / "starter.safetensors"
    import_root: Path | None = None
    device: str = "cpu"
    backend: WantedBackend = "card"
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=0, le=64)
    batch_views: int = Field(default=0, ge=0, le=65_536)
    batch_wait_ms: float = Field(default=2, ge=0, le=1000)
    queue: int = Field(default=64, ge=1)
    cache_mb: int = Field(default=64, ge=0)
    behind_proxy: bool = False
    idle_minutes: float = Field(default=30, gt=0)
    signed_in_hours: float = Field(default=12, gt=0)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one installation.

    `import_root` is the only folder whose subfolders the upload page may read; None disables reading from folders.
    `backend` is how the network computes on the device: as its card says, or faster where that was checked.
    `threads` is the number of threads a worker may use; 0 leaves it to torch.
    `workers` is the number of workers that the server starts; with 0, others analyse: `python -m service.worker`.
    `batch_views` is how many views of patches, of one image or of several, go through the network at once; 0 leaves it
    to the device. A batch that is not full waits `batch_wait_ms` for other images.
    `queue` is how many images of requests wait at most; `cache_mb` is how much the answers that are kept may take.
    `behind_proxy` is true when readers reach the server through our own proxy, which encrypts the connection.
    A sign-in ends after `idle_minutes` without a request, and after `signed_in_hours` at the latest.
    """

    data: Path
    database: str
    checkpoint: Path
    import_root: Path | None
    device: str
    threads: int
    backend: WantedBackend = "card"
    workers: int = 1
    batch_views: int = 0
    batch_wait_ms: float = 2
    queue: int = 64
    cache_mb: int = 64
    behind_proxy: bool = False
    idle_minutes: float = 30
    signed_in_hours: float = 12

    @property
    def files(self) -> Path:
        """Folder of images and heat maps, named by their sha256."""
        return self.data / "files"

    @property
    def computing(self) -> WantedComputing:
        """How the network is to compute, and where the records are of what was checked."""
        return WantedComputing(self.device, self.backend, self.data / "precision")

    @property
    def evaluations(self) -> Path:
        """Folder of what was measured here on checkpoints that have no folder beside them, one for each version."""
        return self.data / "evaluations"

    @property
    def fitted_checkpoints(self) -> Path:
        """Folder of the checkpoints that were fitted to this site."""
        return self.data / "checkpoints"

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read SECOND_READ_DATA, _DATABASE, _CHECKPOINT, _IMPORT_ROOT, _DEVICE, _BACKEND, _THREADS, _WORKERS.

        The engine also reads SECOND_READ_BATCH_VIEWS, _BATCH_WAIT_MS, _QUEUE and _CACHE_MB.
        Sign-in also reads SECOND_READ_BEHIND_PROXY, _IDLE_MINUTES and _SIGNED_IN_HOURS. What the environment does not
        say is read from a file such as `second_read_database` in the folder SECOND_READ_SECRETS.

        Raises:
            UnusableSettingError: If SECOND_READ_SECRETS is not a folder, or a setting has a value that it may not have.
        """
        try:
            environment = _Environment(_secrets_dir=_secrets_folder())
        except ValidationError as error:
            raise UnusableSettingError(f"SECOND_READ_{_first_problem(error)}") from error
        data = environment.data.resolve()
        return cls(
            data=data,
            database=environment.database or f"sqlite:///{quote(str(data / 'second_read.sqlite'))}",
            checkpoint=environment.checkpoint.resolve(),
            import_root=environment.import_root.resolve() if environment.import_root else None,
            device=environment.device,
            threads=environment.threads,
            backend=environment.backend,
            workers=environment.workers,
            batch_views=environment.batch_views,
            batch_wait_ms=environment.batch_wait_ms,
            queue=environment.queue,
            cache_mb=environment.cache_mb,
            behind_proxy=environment.behind_proxy,
            idle_minutes=environment.idle_minutes,
            signed_in_hours=environment.signed_in_hours,
        )


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{str(first['loc'][0]).upper()}={first['input']}: {first['msg']}"


def _secrets_folder() -> Path | None:
    """Return the folder of secrets; unless it is named, the one that container engines make, if there is one."""
    named = os.environ.get(_SECRETS)
    if named is None:
        return _SECRETS_OF_CONTAINERS if _SECRETS_OF_CONTAINERS.is_dir() else None
    if not Path(named).is_dir():
        raise UnusableSettingError(f"{_SECRETS} names {named}, which is not a folder that this account may read")
    return Path(named)
