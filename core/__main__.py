"""The command line: `python -m core predict PATH...` analyses images and folders of images."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from core.card import UnusableCheckpointError
from core.console import PlainConsole
from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_heatmap, encode_png, overlay_heatmap
from core.imaging.limits import UnreadableImageError
from core.pipeline import PatchClassifier, analyse_image
from core.results import Analysis, RgbImage
from core.settings import Settings

_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
_RESEARCH_ONLY = "Research use only; no output is a diagnosis."

app = typer.Typer(help=f"Analyse breast-histopathology images. {_RESEARCH_ONLY}", add_completion=False)
_console = PlainConsole(stderr=True)  # stdout carries results and nothing else


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome for one file: an analysis with a prediction, or the reason why there is none."""

    file: Path
    seconds: float
    analysis: Analysis | None = None
    error: str | None = None


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
        Path | None, typer.Option(help="Save heat maps to this folder: logits as TIFF, overlays as PNG.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per image to stdout.")] = False,
) -> None:
    """Predict benign or malignant, with probabilities and heat maps. The exit code is 1 if any image fails."""
    settings = Settings.from_environment()
    version, classifier = _load(checkpoint or settings.checkpoint, settings)
    files = [(root, file) for root in paths for file in _images_under(root)]
    outcomes: dict[Path, list[_Outcome]] = {root: [] for root in paths}
    with Progress(console=_console) as progress:
        for root, file in progress.track(files, description="Analysing"):
            outcome = _analyse(file, classifier, _heatmap_path(heatmap, root, file))
            outcomes[root].append(outcome)
            print(json.dumps(_to_record(outcome, version)) if as_json else _to_line(outcome), flush=True)
    for root, results in outcomes.items():
        if root.is_dir():
            print(_summarise(root, results), file=sys.stderr if as_json else sys.stdout)
    failed = sum(outcome.error is not None for results in outcomes.values() for outcome in results)
    if failed or not files:
        _console.print(f"{failed} of {len(files)} images failed." if files else "No images found.")
        raise typer.Exit(1)


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


def _images_under(root: Path) -> Iterator[Path]:
    """Yield a file whatever its name; from a folder, yield the files with an image suffix that are not hidden."""
    if root.is_file():
        yield root
        return
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and path.suffix.lower() in _SUFFIXES and not hidden:
            yield path


def _heatmap_path(folder: Path | None, root: Path, file: Path) -> Path | None:
    """Return where to save this file's heat map, without a suffix; subfolders are kept."""
    if folder is None:
        return None
    relative = file.relative_to(root) if root.is_dir() else Path(file.name)
    return folder / relative.with_suffix("")


def _analyse(file: Path, classifier: PatchClassifier, target: Path | None) -> _Outcome:
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
    target.with_name(target.name + ".overlay.png").write_bytes(encode_png(overlay_heatmap(image, analysis.heatmap)))


def _to_record(outcome: _Outcome, version: str) -> dict[str, object]:
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


def _to_line(outcome: _Outcome) -> str:
    prediction = outcome.analysis.prediction if outcome.analysis else None
    if outcome.analysis is None or prediction is None:
        return f"{outcome.file}: {outcome.error}"
    warnings = "; ".join(finding.message for finding in outcome.analysis.quality.findings)
    return (
        f"{outcome.file}: {prediction.label}, malignant probability {prediction.malignant_probability:.3f} "
        f"(threshold {prediction.threshold:.3f}), {prediction.malignant_patches} of {prediction.patches} patches"
        + (f"; {warnings}" if warnings else "")
    )


def _summarise(root: Path, outcomes: Sequence[_Outcome]) -> str:
    """Summarise a folder as one case: the mean over its analysed images, as the app does."""
    analyses = [outcome.analysis for outcome in outcomes if outcome.analysis is not None]
    predictions = [analysis.prediction for analysis in analyses if analysis.prediction is not None]
    if not predictions:
        return f"{root}: none of {len(outcomes)} images could be analysed"
    mean = sum(p.malignant_probability for p in predictions) / len(predictions)
    opinion = "malignant" if mean >= predictions[0].threshold else "benign"
    malignant = sum(p.malignancy == "malignant" for p in predictions)
    return (
        f"{root} read as one case: {opinion}, mean malignant probability {mean:.3f}; "
        f"{malignant} of {len(predictions)} images malignant, {len(outcomes) - len(predictions)} without a result"
    )


if __name__ == "__main__":
    app()
