"""The command line: `python -m core predict PATH...` analyses images and folders of images."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from core.card import UnusableCheckpointError
from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_heatmap, encode_png, overlay
from core.imaging.limits import UnreadableImageError
from core.pipeline import Classifies, analyse_image
from core.results import Analysis, RgbImage
from core.settings import Settings

_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
_RESEARCH = "Research use only; no output is a diagnosis."

app = typer.Typer(help=f"Analyse breast-histopathology images. {_RESEARCH}", add_completion=False)
_console = Console(stderr=True)  # stdout carries results and nothing else


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one file: an analysis with a prediction, or the reason why there is none."""

    file: Path
    seconds: float
    analysis: Analysis | None = None
    error: str | None = None


@app.callback()
def _commands() -> None:
    """Keep `predict` a subcommand, so that others can stand beside it."""


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Images and folders of images.", exists=True)],
    checkpoint: Annotated[
        Path | None, typer.Option(help="A .safetensors checkpoint; the starter if not given.")
    ] = None,
    heatmap: Annotated[
        Path | None, typer.Option(help="Folder for the heat maps: logits as TIFF, overlay as PNG.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per image on stdout.")] = False,
) -> None:
    """Predict benign or malignant, with probabilities and heat maps. Exit code 1 if any file failed."""
    settings = Settings.from_environment()
    version, classifier = _load(checkpoint or settings.checkpoint, settings)
    files = [(root, file) for root in paths for file in _images_under(root)]
    outcomes: dict[Path, list[_Outcome]] = {root: [] for root in paths}
    with Progress(console=_console) as progress:
        for root, file in progress.track(files, description="analysing"):
            outcome = _analyse(file, classifier, _target(heatmap, root, file))
            outcomes[root].append(outcome)
            print(json.dumps(_as_record(outcome, version)) if as_json else _as_line(outcome), flush=True)
    for root, found in outcomes.items():
        if root.is_dir():
            print(_summary(root, found), file=sys.stderr if as_json else sys.stdout)
    failed = sum(outcome.error is not None for found in outcomes.values() for outcome in found)
    if failed or not files:
        _console.print(f"{failed} of {len(files)} images failed" if files else "no images found")
        raise typer.Exit(1)


def _load(path: Path, settings: Settings) -> tuple[str, Classifies]:
    # torch takes seconds to import; `--help` and a wrong path should not wait for it.
    from core.network.checkpoint import load_classifier  # noqa: PLC0415

    try:
        classifier = load_classifier(path, settings.device)
    except UnusableCheckpointError as error:
        _console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    kind = "a demonstration model" if classifier.card.demonstration else "model"
    _console.print(f"{kind} {classifier.card.name} {classifier.version}. {_RESEARCH}")
    return classifier.version, classifier


def _images_under(root: Path) -> Iterator[Path]:
    """Give a named file whatever its name, and of a folder the files that are named like images."""
    if root.is_file():
        yield root
        return
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and path.suffix.lower() in _SUFFIXES and not hidden:
            yield path


def _target(folder: Path | None, root: Path, file: Path) -> Path | None:
    """Give where this file's heat map goes, without its suffix; folders keep their tree."""
    if folder is None:
        return None
    inside = file.relative_to(root) if root.is_dir() else Path(file.name)
    return folder / inside.with_suffix("")


def _analyse(file: Path, classifier: Classifies, target: Path | None) -> _Outcome:
    start = time.perf_counter()
    try:
        image = decode_image(file.read_bytes()).pixels
    except (UnreadableImageError, OSError) as error:
        return _Outcome(file, time.perf_counter() - start, error=str(error))
    analysis = analyse_image(image, classifier, heatmap=target is not None)
    seconds = time.perf_counter() - start
    if target is not None:
        _save_maps(image, analysis, target)
    return _Outcome(file, seconds, analysis, analysis.reason)


def _save_maps(image: RgbImage, analysis: Analysis, target: Path) -> None:
    if analysis.heatmap is None:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_name(target.name + ".heatmap.tiff").write_bytes(encode_heatmap(analysis.heatmap))
    target.with_name(target.name + ".overlay.png").write_bytes(encode_png(overlay(image, analysis.heatmap)))


def _as_record(outcome: _Outcome, version: str) -> dict[str, object]:
    if outcome.error is not None or outcome.analysis is None or outcome.analysis.prediction is None:
        return {"file": str(outcome.file), "error": outcome.error}
    prediction, quality = outcome.analysis.prediction, outcome.analysis.quality
    return {
        "file": str(outcome.file),
        "label": prediction.label,
        "malignant_probability": round(prediction.malignant_probability, 6),
        "probabilities": {
            label: round(p, 6) for label, p in zip(prediction.label_set.classes, prediction.probabilities, strict=True)
        },
        "quality": {
            "sharpness": round(quality.sharpness, 2),
            "tissue_fraction": round(quality.tissue_fraction, 4),
            "warnings": [finding.message for finding in quality.findings],
        },
        "patches": {"benign": prediction.benign_patches, "malignant": prediction.malignant_patches},
        "model_version": version,
        "seconds": round(outcome.seconds, 3),
    }


def _as_line(outcome: _Outcome) -> str:
    prediction = outcome.analysis.prediction if outcome.analysis else None
    if outcome.analysis is None or prediction is None:
        return f"{outcome.file}: {outcome.error}"
    warnings = "; ".join(finding.message for finding in outcome.analysis.quality.findings)
    return (
        f"{outcome.file}: {prediction.label}, malignant probability {prediction.malignant_probability:.3f} "
        f"(threshold {prediction.threshold:.3f}), {prediction.malignant_patches} of {prediction.patches} patches"
        + (f"; {warnings}" if warnings else "")
    )


def _summary(root: Path, outcomes: Sequence[_Outcome]) -> str:
    """Sum up a folder read as one case: the mean over its analysed images, as the app does."""
    found = [o.analysis.prediction for o in outcomes if o.analysis is not None and o.analysis.prediction is not None]
    if not found:
        return f"{root}: none of {len(outcomes)} images could be analysed"
    mean = sum(p.malignant_probability for p in found) / len(found)
    opinion = "malignant" if mean >= found[0].threshold else "benign"
    malignant = sum(p.malignancy == "malignant" for p in found)
    return (
        f"{root} read as one case: {opinion}, mean malignant probability {mean:.3f}; "
        f"{malignant} of {len(found)} images malignant, {len(outcomes) - len(found)} without a result"
    )


if __name__ == "__main__":
    app()
