"""Where things are, read once from the environment at the edge and passed down."""

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


@dataclass(frozen=True, slots=True)
class Settings:
    """Places and processes of one installation.

    `import_root` is the only folder whose subfolders the upload page may read; None switches that off.
    `threads` is the number of threads the worker may use; 0 leaves it to torch.
    """

    data: Path
    database: str
    checkpoint: Path
    import_root: Path | None
    device: str
    threads: int

    @property
    def files(self) -> Path:
        """Folder of images and heat maps, named by their sha256."""
        return self.data / "files"

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read SECOND_READ_DATA, _DATABASE, _CHECKPOINT, _IMPORT_ROOT, _DEVICE and _THREADS."""
        found = _Environment()
        data = found.data.resolve()
        return cls(
            data=data,
            database=found.database or f"sqlite:///{quote(str(data / 'second_read.sqlite'))}",
            checkpoint=found.checkpoint.resolve(),
            import_root=found.import_root.resolve() if found.import_root else None,
            device=found.device,
            threads=found.threads,
        )
