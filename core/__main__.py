"""The command line: `python -m core predict PATH...` analyses images and folders of images."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from core.batch import Batch, BatchFile, find_images, output_names, read_image_file
from core.card import UnusableCheckpointError
from core.console import PlainConsole
from core.files import readable_path, replace_control_characters, write_whole
from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_heatmap, encode_png, overlay_heatmap
from core.imaging.limits import UnreadableImageError
from core.imaging.scale import Scale
from core.memory import keep_freed_memory
from core.pipeline import PatchClassifier, analyse_image
from core.results import Analysis, Prediction, RgbImage
from core.settings import Settings

_RESEARCH_ONLY = "Research use only; no output is a diagnosis."

app = typer.Typer(help=f"Analyse breast-histopathology images. {_RESEARCH_ONLY}", add_completion=False)
_console = PlainConsole(stderr=True)  # stdout carries results and nothing else


@dataclass(frozen=True, slots=True)
class _MapFiles:
    """Where the maps of one image are saved: as numbers, and painted over the image."""

    heatmap: Path
    overlay: Path
    scope_map: Path
    scope_overlay: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> "_MapFiles":
        """Name the files of an image."""
        endings = ("heatmap.tiff", "overlay.png", "scope.tiff", "scope.overlay.png")
        return cls(*(folder / f"{name}.{ending}" for ending in endings))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return self.heatmap, self.overlay, self.scope_map, self.scope_overlay


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome for one file: an analysis, or the reason why there is none."""

    file: BatchFile
    seconds: float = 0.0
    analysis: Analysis | None = None
    error: str | None = None
    scale: Scale | None = None
    maps: _MapFiles | None = None  # where the maps that the analysis has were saved

    @property
    def name(self) -> str:
        return readable_path(self.file.path)


@app.callback()
def _commands() -> None:
    """Keep `predict` a subcommand, so that others can be added later."""


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", exists=True)],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A .safetensors checkpoint. Default: SECOND_READ_CHECKPOINT or the starter model."),
    ] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(help="Save heat maps, and maps of what is unlike the training images: TIFF, overlays as PNG."),
    ] = None,
    um_per_px: Annotated[
        float | None,
        typer.Option(help="Micrometres per pixel of all images; by default what each file states of itself."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per image to stdout.")] = False,
) -> None:
    """Predict benign or malignant, with probabilities and heat maps, or give no opinion on an image out of scope.

    The exit code is 1 if any image fails or is left out.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name must not stop the others
    typed = _read_typed(um_per_px)
    settings = Settings.from_environment()
    batches = [find_images(root, heatmap) for root in paths]
    files = [file for batch in batches for file in batch.files]
    targets = _name_maps(heatmap, files)
    version, classifier = _load(checkpoint or settings.checkpoint, settings)
    outcomes: list[_Outcome] = []
    with Progress(console=_console) as progress:
        for file, target in progress.track(list(zip(files, targets, strict=True)), description="Analysing"):
            outcome = _analyse(file, classifier, target, typed)
            outcomes.append(outcome)
            print(json.dumps(_to_record(outcome, version)) if as_json else _to_line(outcome), flush=True)
    done = iter(outcomes)
    for batch in batches:
        own = list(islice(done, len(batch.files)))
        if batch.root.is_dir():
            print(_summarise(batch, own), file=sys.stderr if as_json else sys.stdout)
    failed = sum(outcome.error is not None for outcome in outcomes)
    if failed or not files:
        _console.print(f"{failed} of {len(files)} images failed or were left out." if files else "No images found.")
        raise typer.Exit(1)


def _read_typed(um_per_px: float | None) -> Scale | None:
    try:
        return None if um_per_px is None else Scale(um_per_px, "typed")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--um-per-px") from error


def _load(path: Path, settings: Settings) -> tuple[str, PatchClassifier]:
    # torch takes seconds to import; `--help` and a wrong path should not wait for it.
    from core.network.checkpoint import load_classifier  # noqa: PLC0415

    try:
        classifier = load_classifier(path, settings.device)
    except UnusableCheckpointError as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    kind = "Demonstration model" if classifier.card.demonstration else "Model"
    _console.print(f"{kind} {classifier.card.name} (version {classifier.version}). {_RESEARCH_ONLY}")
    return classifier.version, classifier


def _name_maps(folder: Path | None, files: Sequence[BatchFile]) -> list[_MapFiles | None]:
    """Return for each file where its maps are saved: no two of a batch, and none over an image."""
    if folder is None:
        return [None] * len(files)
    targets = [_MapFiles.of(folder, name) for name in output_names(files)]
    images = {file.path.resolve() for file in files}
    for target in (path for files_of_one in targets for path in files_of_one.paths):
        if target.resolve() in images:
            _console.print(f"{readable_path(target)} is one of the images: save heat maps elsewhere.", style="red")
            raise typer.Exit(2)
    return [*targets]


def _analyse(file: BatchFile, classifier: PatchClassifier, maps: _MapFiles | None, typed: Scale | None) -> _Outcome:
    if file.problem is not None:
        return _Outcome(file, error=file.problem)
    start = time.perf_counter()
    try:
        image = decode_image(read_image_file(file.path))
    except UnreadableImageError as error:
        return _Outcome(file, time.perf_counter() - start, error=str(error))
    scale = typed or image.scale
    um_per_px = scale.um_per_px if scale else None
    analysis = analyse_image(image.pixels, classifier, heatmap=maps is not None, notes=image.notes, um_per_px=um_per_px)
    # No opinion is an answer, and no failure.
    problem = None if analysis.withheld else analysis.reason
    outcome = _Outcome(file, time.perf_counter() - start, analysis, problem, scale)
    if maps is None:
        return outcome
    try:
        _save_maps(maps, image.pixels, analysis)
    except OSError as error:
        return _Outcome(file, outcome.seconds, error=f"its maps cannot be saved: {error.strerror}.")
    return replace(outcome, maps=maps)


def _save_maps(files: _MapFiles, image: RgbImage, analysis: Analysis) -> None:
    if analysis.heatmap is not None:
        write_whole(files.heatmap, encode_heatmap(analysis.heatmap))
        write_whole(files.overlay, encode_png(overlay_heatmap(image, analysis.heatmap)))
    if analysis.scope is not None and analysis.scope_map is not None:
        write_whole(files.scope_map, encode_heatmap(analysis.scope_map))
        # One span for all images: an image in scope must not look as if a part of it were not.
        painted = overlay_heatmap(image, analysis.scope_map, span=(0, analysis.scope.limit_out))
        write_whole(files.scope_overlay, encode_png(painted))


def _to_record(outcome: _Outcome, version: str) -> dict[str, object]:
    analysis = outcome.analysis
    notes = list(analysis.quality.notes) if analysis else []
    if outcome.error is not None or analysis is None:
        return {"file": outcome.name, "error": outcome.error, **({"notes": notes} if notes else {})}
    quality, scope = analysis.quality, analysis.scope
    record: dict[str, object] = {
        "file": outcome.name,
        **_prediction_record(analysis.prediction),
        **({"reason": analysis.reason} if analysis.reason else {}),
        "scope": scope.level if scope else None,
        "scope_score": round(scope.score, 4) if scope else None,
        **({"scope_reasons": list(scope.reasons)} if scope and scope.reasons else {}),
        "quality": {
            "sharpness": round(quality.sharpness, 2),
            "tissue_fraction": round(quality.tissue_fraction, 4),
            "warnings": list(quality.problems),
        },
        "notes": notes,
        "um_per_px": round(outcome.scale.um_per_px, 6) if outcome.scale else None,
        "um_per_px_source": outcome.scale.source if outcome.scale else None,
        "model_version": version,
        "seconds": round(outcome.seconds, 3),
    }
    if outcome.maps is not None and analysis.heatmap is not None:
        record |= {"heatmap": readable_path(outcome.maps.heatmap), "overlay": readable_path(outcome.maps.overlay)}
    if outcome.maps is not None and analysis.scope_map is not None:
        record["scope_map"] = readable_path(outcome.maps.scope_map)
        record["scope_overlay"] = readable_path(outcome.maps.scope_overlay)
    return record


def _prediction_record(prediction: Prediction | None) -> dict[str, object]:
    """Return what is said of a prediction; the same keys without one, so that a script cannot miss that."""
    if prediction is None:
        return dict.fromkeys(("label", "malignant_probability", "probabilities", "patches"))
    classes = zip(prediction.label_set.classes, prediction.probabilities, strict=True)
    return {
        "label": prediction.label,
        "malignant_probability": round(prediction.malignant_probability, 6),
        "probabilities": {label: round(p, 6) for label, p in classes},
        "patches": {"benign": prediction.benign_patches, "malignant": prediction.malignant_patches},
    }


def _to_line(outcome: _Outcome) -> str:
    return replace_control_characters(f"{outcome.name}: {_to_words(outcome)}")


def _to_words(outcome: _Outcome) -> str:
    analysis = outcome.analysis
    if outcome.error is not None or analysis is None:
        return outcome.error or "no result"
    said = [*analysis.quality.problems, *(f"note: {note}" for note in analysis.quality.notes)]
    prediction, scope = analysis.prediction, analysis.scope
    if prediction is None:
        return "; ".join([analysis.reason or "no result", *said])
    if scope is not None and scope.level == "unusual":
        said = [f"unusual for this model: {', '.join(scope.reasons)}", *said]
    return (
        f"{prediction.label}, malignant probability {prediction.malignant_probability:.3f} "
        f"(threshold {prediction.threshold:.3f}), {prediction.malignant_patches} of {prediction.patches} patches"
        + "".join(f"; {words}" for words in said)
    )


def _summarise(batch: Batch, own: Sequence[_Outcome]) -> str:
    """Summarise a folder as one case: the mean over its analysed images, as the app does, and what is not in it."""
    predictions = [outcome.analysis.prediction for outcome in own if outcome.analysis and outcome.analysis.prediction]
    name = readable_path(batch.root)
    if not predictions:
        lines = [f"{name}: none of {len(own)} images could be analysed"]
    else:
        mean = sum(p.malignant_probability for p in predictions) / len(predictions)
        opinion = "malignant" if mean >= predictions[0].threshold else "benign"
        malignant = sum(p.malignancy == "malignant" for p in predictions)
        withheld = sum(outcome.analysis is not None and outcome.analysis.withheld for outcome in own)
        failed = len(own) - len(predictions) - withheld
        case = (
            f"{name} read as one case: {opinion}, mean malignant probability {mean:.3f}; "
            f"{malignant} of {len(predictions)} images malignant, {failed} without a result"
            f"{f', {withheld} without an opinion' if withheld else ''}"
        )
        lines = [case]
    lines += [f"  without a result: {one.file.relative}: {_to_words(one)}" for one in own if one.error is not None]
    lines += [f"  not an image, left alone: {readable_path(path.relative_to(batch.root))}" for path in batch.others]
    return "\n".join(replace_control_characters(line) for line in lines)


if __name__ == "__main__":
    keep_freed_memory()
    app()
