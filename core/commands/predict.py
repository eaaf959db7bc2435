"""`python -m core predict PATH...` analyses images and folders of images."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from core.card import Card, UnusableCheckpointError
from core.commands.outcome_table import to_csv, to_workbook
from core.commands.outcomes import MAP_ENDINGS, MapFiles, Outcome, summarise, to_line, to_record
from core.computing import Computing
from core.console import PlainConsole
from core.files import readable_path, write_whole
from core.image_files import ImageFile, find_images, output_names, read_image_file
from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_heatmap, encode_png, encode_scope_map, overlay_heatmap
from core.imaging.limits import UnreadableImageError
from core.imaging.scale import Scale
from core.pipeline import PatchClassifier, analyse_image
from core.results import Analysis, RgbImage
from core.settings import Settings

RESEARCH_ONLY = "Research use only; no output is a diagnosis."

_console = PlainConsole(stderr=True)  # stdout carries results and nothing else


def predict(  # noqa: PLR0913 - a command line has as many options as there are things to choose
    paths: Annotated[list[Path] | None, typer.Argument(help="Images, or folders of images.", exists=True)] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A .safetensors checkpoint. Default: SECOND_READ_CHECKPOINT or the starter model."),
    ] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(help="Folder for heat maps and maps of what is unlike the training images (TIFF; overlays: PNG)."),
    ] = None,
    um_per_px: Annotated[
        float | None,
        typer.Option(help="Micrometres per pixel of all images; by default what each file states of itself."),
    ] = None,
    *,
    csv: Annotated[
        Path | None, typer.Option(help="Also write a table with one row per image to this CSV file.", dir_okay=False)
    ] = None,
    xlsx: Annotated[
        Path | None, typer.Option(help="The same table as a workbook, which explains its columns.", dir_okay=False)
    ] = None,
    mode: Annotated[
        Literal["single", "folder"] | None, typer.Option(help="single: --image FILE; folder: --folder FOLDER.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="One image, as if given in PATHS.", exists=True)] = None,
    folder: Annotated[
        Path | None, typer.Option(help="One folder, as if given in PATHS.", exists=True, file_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per image to stdout.")] = False,
) -> None:
    """Predict benign or malignant, with probabilities and heat maps, or give no opinion on an image out of scope.

    A folder is also summed up as one case. The exit status is 1 if any image fails or is left out.
    """
    _check_mode(mode, image, folder)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name must not stop the others
    typed = read_typed_scale(um_per_px)
    settings = Settings.from_environment()
    batches = [find_images(root, heatmap) for root in _named(paths or [], image, folder)]
    files = [file for batch in batches for file in batch.files]
    targets = _name_maps(heatmap, files)
    if csv is not None and xlsx is not None and csv.resolve() == xlsx.resolve():
        raise typer.BadParameter("the table and the workbook need a file each", param_hint="--xlsx")
    _refuse_replacing([path for path in (csv, xlsx) if path], files)
    version, classifier = load(checkpoint or settings.checkpoint, settings)
    outcomes: list[Outcome] = []
    with Progress(console=_console) as progress:
        for file, target in progress.track(list(zip(files, targets, strict=True)), description="Analysing"):
            outcome = _analyse(file, classifier, target, typed)
            print(json.dumps(to_record(outcome, version)) if as_json else to_line(outcome), flush=True)
            outcomes.append(outcome.without_maps())
    if csv is not None:
        write_whole(csv, to_csv(outcomes, version))
    if xlsx is not None:
        write_whole(xlsx, to_workbook(outcomes, version))
    done = iter(outcomes)
    for batch in batches:
        own = list(islice(done, len(batch.files)))
        if batch.root.is_dir():
            print(summarise(batch, own), file=sys.stderr if as_json else sys.stdout)
    failed = sum(outcome.error is not None for outcome in outcomes)
    if failed or not files:
        _console.print(f"{failed} of {len(files)} images failed or were left out." if files else "No images found.")
        raise typer.Exit(1)


def _check_mode(mode: str | None, image: Path | None, folder: Path | None) -> None:
    """Refuse a mode without what it needs, or with what belongs to the other one."""
    if mode == "single" and (image is None or folder is not None):
        raise typer.BadParameter("--mode single takes --image FILE, and no --folder", param_hint="--mode")
    if mode == "folder" and (folder is None or image is not None):
        raise typer.BadParameter("--mode folder takes --folder FOLDER, and no --image", param_hint="--mode")


def _named(paths: list[Path], *more: Path | None) -> list[Path]:
    named = [*paths, *(path for path in more if path is not None)]
    if not named:
        raise typer.BadParameter("name images or folders of images", param_hint="PATHS")
    return named


def read_typed_scale(um_per_px: float | None) -> Scale | None:
    """Return the scale that was typed, or refuse it."""
    try:
        return None if um_per_px is None else Scale(um_per_px, "typed")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--um-per-px") from error


def load(path: Path, settings: Settings) -> tuple[str, PatchClassifier]:
    """Load a checkpoint and say which; return its version with it."""
    # torch takes seconds to import; `--help` and a wrong path should not wait for it.
    from core.network.checkpoint import load_for_use  # noqa: PLC0415

    try:
        classifier = load_for_use(path, settings.computing)
    except UnusableCheckpointError as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    _console.print(describe_model(classifier.card, classifier.version))
    _say_caution(classifier.computing)
    classifier.tell_changes(_say_caution)
    return classifier.version, classifier


def _say_caution(computing: Computing) -> None:
    if computing.caution is not None:
        _console.print(f"Note: {computing.caution}")


def describe_model(card: Card, version: str) -> str:
    """Return which model is used, and for what."""
    return (
        f"{'Demonstration model' if card.demonstration else 'Model'} {card.name} (version {version}). {RESEARCH_ONLY}"
    )


def _name_maps(folder: Path | None, files: Sequence[ImageFile]) -> list[MapFiles | None]:
    """Return for each file where its maps are saved: no two alike, and none over an image."""
    if folder is None:
        return [None] * len(files)
    targets = [MapFiles.of(folder, name) for name in output_names(files, MAP_ENDINGS)]
    _refuse_replacing([path for files_of_one in targets for path in files_of_one.paths], files)
    return [*targets]


def _refuse_replacing(results: Sequence[Path], files: Sequence[ImageFile]) -> None:
    images = {file.path.resolve() for file in files}
    for path in results:
        if path.resolve() in images:
            _console.print(f"{readable_path(path)} is one of the images: save results elsewhere.", style="red")
            raise typer.Exit(2)


def _analyse(file: ImageFile, classifier: PatchClassifier, maps: MapFiles | None, typed: Scale | None) -> Outcome:
    if file.problem is not None:
        return Outcome(file, error=file.problem)
    start = time.perf_counter()
    try:
        image = decode_image(read_image_file(file.path))
    except UnreadableImageError as error:
        return Outcome(file, time.perf_counter() - start, error=str(error))
    scale = typed or image.scale
    um_per_px = scale.um_per_px if scale else None
    analysis = analyse_image(image.pixels, classifier, heatmap=maps is not None, notes=image.notes, um_per_px=um_per_px)
    # No opinion is an answer, and no failure.
    problem = None if analysis.withheld else analysis.reason
    outcome = Outcome(file, time.perf_counter() - start, analysis, problem, scale)
    if maps is None:
        return outcome
    try:
        _save_maps(maps, image.pixels, analysis)
    except OSError as error:
        return Outcome(file, outcome.seconds, error=f"its maps cannot be saved: {error.strerror}.")
    return replace(outcome, maps=maps)


def _save_maps(files: MapFiles, image: RgbImage, analysis: Analysis) -> None:
    if analysis.heatmap is not None:
        write_whole(files.heatmap, encode_heatmap(analysis.heatmap))
        write_whole(files.overlay, encode_png(overlay_heatmap(image, analysis.heatmap)))
    if analysis.scope is not None and analysis.scope_map is not None:
        write_whole(files.scope_map, encode_scope_map(analysis.scope_map))
        # One span for all images: an image in scope must not look as if a part of it were not.
        painted = overlay_heatmap(image, analysis.scope_map, span=(0, analysis.scope.limit_out))
        write_whole(files.scope_overlay, encode_png(painted))
