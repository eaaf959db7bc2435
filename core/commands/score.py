"""`python -m core score FOLDER` scores the images of a cohort into one Parquet table, and goes on after a kill."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from core.card import UnusableCheckpointError, checkpoint_sha256, model_version, read_card
from core.cohort.listing import list_cohort
from core.cohort.on_ray import ClusterError, score_on_ray
from core.cohort.parts import CohortInUseError, CohortResults
from core.cohort.rows import build_table, score_image
from core.command_line import refuse_in_words
from core.commands.predict import describe_model, load, read_typed_scale
from core.computing import WantedBackend
from core.console import PlainConsole, progress_bar
from core.files import readable_path
from core.settings import Settings
from core.wording import count_words, join_first

_SAID_EVERY = 60.0  # seconds; a log, unlike a terminal, keeps every line

_console = PlainConsole(stderr=True)


@refuse_in_words(UnusableCheckpointError, ClusterError, CohortInUseError, OSError, ValueError)
def score(
    source: Annotated[
        Path, typer.Argument(help="Folder of images, or a table with columns path and, if known, label.", exists=True)
    ],
    out: Annotated[Path, typer.Option(help="Parquet file with one row per image.", dir_okay=False)],
    *,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A .safetensors checkpoint. Default: SECOND_READ_CHECKPOINT or the starter model."),
    ] = None,
    um_per_px: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of all images; default: the table's, else each file's.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Score on Ray: the address of a cluster, or local to start one here.")
    ] = None,
    actors: Annotated[int, typer.Option(min=1, help="With --ray: how many networks score at once.")] = 2,
) -> None:
    """Score every image of a cohort; nothing is shown to readers. Research use only; no output is a diagnosis.

    If it is stopped or killed, run the same command again to continue. The exit status is 1 if any image has an error.
    """
    settings = Settings.from_environment()
    path, typed = (checkpoint or settings.checkpoint).absolute(), read_typed_scale(um_per_px)
    files = [replace(file, scale=typed or file.scale) for file in list_cohort(source.absolute(), _tell_others)]
    version = model_version(checkpoint_sha256(path))
    results = CohortResults(out, _made_with(version, settings.backend))
    with results.alone():
        missing = results.find_missing(files)
        if len(missing) < len(files):
            _console.print(f"{len(files) - len(missing):,} of {len(files):,} images have been scored already.")
        scored: Iterator[pa.Table] = iter(())
        if missing and ray is not None:
            _console.print(describe_model(read_card(path), version))
            scored = score_on_ray(missing, path, settings.computing, results.made_with, ray, actors)
        elif missing:
            version, classifier = load(path, settings)
            scored = (build_table([score_image(file, classifier, version)], results.made_with) for file in missing)
        with progress_bar() as bar, closing(results.store(scored)) as stored:
            task = bar.add_task("scoring", total=len(files), completed=len(files) - len(missing))
            telling = _Telling(len(missing))
            for images in stored:
                bar.advance(task, images)
                telling.add(images)
        table = results.finish(files)
    _console.print(_summarise(table))
    print(out)
    raise typer.Exit(1 if table.column("error").null_count < len(table) else 0)


def _made_with(version: str, backend: WantedBackend) -> str:
    """Return what rows depend on: those that were made in another way are not taken over."""
    return f"model {version}" if backend == "card" else f"model {version}, {backend}"


def _tell_others(others: Sequence[Path]) -> None:
    if others:
        names = join_first(readable_path(path) for path in others)
        _console.print(f"Not images, ignored: {len(others):,} ({names})")


class _Telling:
    """Says once a minute how far it is and how long it will take, where there is no terminal for a progress bar."""

    def __init__(self, images: int) -> None:
        self._images, self._done = images, 0
        self._start = self._said = time.monotonic()

    def add(self, images: int) -> None:
        """Count images as done."""
        self._done += images
        now = time.monotonic()
        if _console.is_terminal or now - self._said < _SAID_EVERY:
            return
        self._said = now
        left = (now - self._start) / self._done * (self._images - self._done)
        _console.print(f"{self._done:,} of {self._images:,} images, about {left / 60:,.0f} min left")


def _summarise(table: pa.Table) -> str:
    """Count the rows by what they say."""
    failed, withheld = (len(table) - table.column(name).null_count for name in ("error", "reason"))
    predicted = len(table) - table.column("probability").null_count
    return (
        f"{count_words(len(table), 'image')}: {predicted:,} with a prediction, {withheld:,} without an opinion because "
        f"they are out of scope, {failed:,} with an error."
    )
