"""What `python -m core predict` prints of an image and of a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.files import readable_path, replace_control_characters
from core.image_files import FoundImages, ImageFile
from core.imaging.scale import Scale
from core.results import Analysis, PooledOpinion, Prediction

MAP_ENDINGS = (".heatmap.tiff", ".overlay.png", ".scope.tiff", ".scope.overlay.png")


@dataclass(frozen=True, slots=True)
class MapFiles:
    """Where the maps of one image are saved: as numbers, and painted over the image."""

    heatmap: Path
    overlay: Path
    scope_map: Path
    scope_overlay: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> "MapFiles":
        """Name the files of an image."""
        return cls(*(folder / f"{name}{ending}" for ending in MAP_ENDINGS))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return self.heatmap, self.overlay, self.scope_map, self.scope_overlay


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome for one file: an analysis, or the reason why there is none."""

    file: ImageFile
    seconds: float = 0.0
    analysis: Analysis | None = None
    error: str | None = None
    scale: Scale | None = None
    maps: MapFiles | None = None  # where the maps that the analysis has were saved

    @property
    def name(self) -> str:
        """The path of the file, as text that can be printed."""
        return readable_path(self.file.path)

    def without_maps(self) -> "Outcome":
        """Return the same without its maps, which are as large as the image."""
        if self.analysis is None:
            return self
        return replace(self, analysis=replace(self.analysis, heatmap=None, scope_map=None))


def to_record(outcome: Outcome, version: str) -> dict[str, object]:
    """Return what is said of an image as one JSON object."""
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


def to_line(outcome: Outcome) -> str:
    """Return what is said of an image in one line."""
    return replace_control_characters(f"{outcome.name}: {_to_words(outcome)}")


def _to_words(outcome: Outcome) -> str:
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


def summarise(found: FoundImages, own: Sequence[Outcome]) -> str:
    """Summarise a folder as one case: the mean over its analysed images, as the app does, and what is not in it."""
    predictions = [outcome.analysis.prediction for outcome in own if outcome.analysis and outcome.analysis.prediction]
    name = readable_path(found.root)
    if not predictions:
        lines = [f"{name}: none of {len(own)} images could be analysed"]
    else:
        opinion = PooledOpinion.of((p.malignant_probability, p.threshold) for p in predictions)
        malignant = sum(p.malignancy == "malignant" for p in predictions)
        malignant_patches = sum(p.malignant_patches for p in predictions)
        withheld = sum(outcome.analysis is not None and outcome.analysis.withheld for outcome in own)
        failed = len(own) - len(predictions) - withheld
        case = (
            f"{name} taken as one case: {opinion.malignancy}, "
            f"mean malignant probability {opinion.malignant_probability:.3f}; "
            f"{malignant} of {len(predictions)} images malignant, {failed} without a result"
            f"{f', {withheld} without an opinion' if withheld else ''}"
        )
        lines = [
            case,
            f"  prediction: {opinion.malignancy}, confidence {opinion.confidence:.3f}",
            f"  images: {len(predictions) - malignant} benign, {malignant} malignant",
            f"  patches: {sum(p.benign_patches for p in predictions)} benign, {malignant_patches} malignant",
        ]
    lines += [f"  without a result: {one.file.relative}: {_to_words(one)}" for one in own if one.error is not None]
    lines += [f"  not an image, ignored: {readable_path(path.relative_to(found.root))}" for path in found.others]
    return "\n".join(replace_control_characters(line) for line in lines)
