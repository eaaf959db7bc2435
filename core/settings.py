"""Paths and other settings, read from the environment once at startup and passed down."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_PROJECT = Path(__file__).resolve().parent.parent


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SECOND_READ_")

    data: Path = Path("data")
    database: str | None = None
    checkpoint: Path = _PROJECT / "models" / "starter.safetensors"
    import_root: Path | None = None
    device: str = "cpu"
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=0, le=64)
    behind_proxy: bool = False
    idle_minutes: float = Field(default=30, gt=0)
    signed_in_hours: float = Field(default=12, gt=0)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one installation.

    `import_root` is the only folder whose subfolders the upload page may read; None disables reading from folders.
    `threads` is the number of threads a worker may use; 0 leaves it to torch.
    `workers` is the number of workers that the server starts; with 0, others analyse: `python -m service.worker`.
    `behind_proxy` is true when readers reach the server through our own proxy, which encrypts the connection.
    A sign-in ends after `idle_minutes` without a request, and after `signed_in_hours` at the latest.
    """

    data: Path
    database: str
    checkpoint: Path
    import_root: Path | None
    device: str
    threads: int
    workers: int = 1
    behind_proxy: bool = False
    idle_minutes: float = 30
    signed_in_hours: float = 12

    @property
    def files(self) -> Path:
        """Folder of images and heat maps, named by their sha256."""
        return self.data / "files"

    @property
    def fitted_checkpoints(self) -> Path:
        """Folder of the checkpoints that were fitted to this site."""
        return self.data / "checkpoints"

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read SECOND_READ_DATA, _DATABASE, _CHECKPOINT, _IMPORT_ROOT, _DEVICE, _THREADS, _WORKERS.

        Sign-in also reads SECOND_READ_BEHIND_PROXY, _IDLE_MINUTES and _SIGNED_IN_HOURS.
        """
        environment = _Environment()
        data = environment.data.resolve()
        return cls(
            data=data,
            database=environment.database or f"sqlite:///{quote(str(data / 'second_read.sqlite'))}",
            checkpoint=environment.checkpoint.resolve(),
            import_root=environment.import_root.resolve() if environment.import_root else None,
            device=environment.device,
            threads=environment.threads,
            workers=environment.workers,
            behind_proxy=environment.behind_proxy,
            idle_minutes=environment.idle_minutes,
            signed_in_hours=environment.signed_in_hours,
        )
