"""`python -m core check-precision IMAGES` checks whether a faster way to compute may be used for a checkpoint."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from core.card import UnusableCheckpointError, checkpoint_sha256
from core.cohort.listing import CohortFile, list_cohort
from core.command_line import refuse_in_words
from core.commands.predict import describe_model
from core.computing import EXACT, Backend
from core.console import PlainConsole, progress_bar
from core.image_files import read_image_file
from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from core.precision import LEAST_IMAGES, LEAST_OF_EACH, PrecisionRecord, compare
from core.results import RgbImage
from core.settings import Settings

_console = PlainConsole(stderr=True)


@refuse_in_words(UnusableCheckpointError, OSError, ValueError)
def check_precision(
    images: Annotated[
        Path,
        typer.Argument(help="Folder of images like those that will be read, or a table as for score.", exists=True),
    ],
    *,
    backend: Annotated[
        Backend | None, typer.Option(help="What to check. Default: SECOND_READ_BACKEND.", show_default=False)
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A .safetensors checkpoint. Default: SECOND_READ_CHECKPOINT or the starter model."),
    ] = None,
) -> None:
    """Compare a faster way to compute with the exact one, and record for this machine whether it may be used.

    It may if no label changes, no probability by more than 0.005, and heat maps stay alike. The images need no labels.
    The exit status is 1 if it may not.
    """
    settings = Settings.from_environment()
    chosen = backend or (None if settings.backend == "card" else settings.backend)
    if chosen is None or chosen == EXACT:
        raise typer.BadParameter(f"name a way to compute other than {EXACT}", param_hint="--backend")
    path, files = (checkpoint or settings.checkpoint).absolute(), list_cohort(images.absolute())
    record = _check(path, chosen, settings, files)
    record.save(settings.computing.records)
    found = record.difference
    _console.print(f"{chosen}: {found}.")
    if not found.is_of_enough:
        _console.print(
            f"Too few images: at least {LEAST_IMAGES} with a prediction are needed, of which {LEAST_OF_EACH} "
            f"benign and {LEAST_OF_EACH} malignant by the model; there are {found.benign} and {found.malignant}."
        )
    may = found.passed and found.is_of_enough
    print(f"{chosen} {'may' if may else 'may not'} be used for {path.name} on this machine")
    raise typer.Exit(0 if may else 1)


def _check(path: Path, backend: Backend, settings: Settings, files: Sequence[CohortFile]) -> PrecisionRecord:
    """Compare a backend with the exact one; both are those of this machine.

    Raises:
        ValueError: If this machine cannot compute in this way.
    """
    # torch takes seconds to import; `--help` and a wrong path should not wait for it.
    from core.network.backends import UnusableBackendError  # noqa: PLC0415
    from core.network.checkpoint import load_classifier  # noqa: PLC0415

    classifier = load_classifier(path, settings.device)
    _console.print(describe_model(classifier.card, classifier.version))
    try:
        other = classifier.computed_by(backend)
    except UnusableBackendError as error:
        raise ValueError(str(error)) from error
    with progress_bar() as bar:
        task = bar.add_task("comparing", total=len(files))
        found = compare(classifier.computed_by(EXACT), other, _decode(files, lambda: bar.advance(task)))
    return PrecisionRecord(other.way(checkpoint_sha256(path)), found)


def _decode(files: Sequence[CohortFile], advance: Callable[[], None]) -> Iterator[tuple[RgbImage, float | None]]:
    for file in files:
        try:
            if file.problem is not None:
                raise UnreadableImageError(file.problem)
            image = decode_image(read_image_file(file.path))
            scale = file.scale or image.scale
            yield image.pixels, scale.um_per_px if scale else None
        except UnreadableImageError as error:
            _console.print(f"left out: {file.name}: {error}")
        advance()
