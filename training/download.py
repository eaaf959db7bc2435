"""Download a dataset, or take an archive on disk; check it, unpack it safely and count the images.

python -m training.download breakhis --url https://.../BreaKHis_v1.tar.gz --sha256 ... --out data/breakhis
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from core.command_line import make_app, run_app
from core.console import PlainConsole, print_cautions, text_column
from core.data.datasets import describe_shortfall, load_dataset
from core.data.left_out import dataset_cautions
from training.fetch import FetchError, check_sha256, fetch, unpack

_console = PlainConsole()


def run(
    dataset: Annotated[Literal["breakhis", "bach", "idc"], typer.Argument(help="Dataset in the archive.")],
    url: Annotated[str, typer.Option(help="Address of the archive; by downloading it you accept its licence.")] = "",
    archive: Annotated[
        Path | None, typer.Option(help="Archive on this machine, instead of --url.", dir_okay=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for archive and images; data/DATASET by default.")] = None,
    sha256: Annotated[str, typer.Option(help="Expected sha256 of the archive.")] = "",
) -> None:
    """Download an archive or take a local one, check it, unpack it into OUT/images and count the images.

    After a broken connection, run the command again to resume. Exits with status 1 if images are missing or left out.
    """
    folder = out or Path("data") / dataset
    images = folder / "images"
    if bool(url) == (archive is not None):
        raise typer.BadParameter("pass either --url or --archive, not both")
    try:
        if images.exists():
            _console.print(
                f"{images} already exists, so images were only counted. Remove it to unpack again.", markup=False
            )
        else:
            _unpack(archive or _fetch(url, folder, sha256), images, sha256)
        labelled = load_dataset(dataset, images)
    except (FetchError, OSError, ValueError) as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    missing = describe_shortfall(labelled, dataset)
    patients = len({image.patient_id for image in labelled})
    _console.print(f"{len(labelled):,} images of {patients} patients in {images}")
    for line in missing:
        _console.print(f"  {line}", style="yellow")
    cautions = dataset_cautions(dataset, images, labelled)
    print_cautions(_console, cautions)
    raise typer.Exit(1 if missing or cautions else 0)


def _fetch(url: str, folder: Path, sha256: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{url!r} is not an http or https address")
    target = folder / (PurePosixPath(parts.path).name or "archive")
    columns = (text_column(), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=_console) as bar:
        task = bar.add_task(target.name, total=None)
        return fetch(url, target, sha256, lambda done, total: bar.update(task, completed=done, total=total))


def _unpack(archive: Path, images: Path, sha256: str) -> None:
    check_sha256(archive, sha256)
    images.parent.mkdir(parents=True, exist_ok=True)
    with Progress(text_column(), console=_console) as bar:
        task = bar.add_task("unpacking")
        count = unpack(
            archive, images, progress=lambda files: bar.update(task, description=f"unpacking: {files:,} files")
        )
    _console.print(f"Unpacked {count:,} files.")


app = make_app(run, "python -m training.download breakhis --archive BreaKHis_v1.tar.gz --out data/breakhis")

if __name__ == "__main__":
    run_app(app)
