"""Measure how far the heat maps of a checkpoint can be trusted, for the card on the Models page.

python -m training.map_trust models/starter.safetensors --data BREAKHIS
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from core.card import Card, UnusableCheckpointError
from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions, progress_bar
from core.data.datasets import OUTSIDE, PATIENT_TABLE, DatasetName, LabelledImage, load_folders
from core.data.images import read_image
from core.files import write_whole
from core.imaging.scale import known_um_per_px
from core.imaging.working_scale import resample_map
from core.network.checkpoint import load_classifier, load_redrawn
from core.network.classifier import Classifier
from core.pipeline import analyse_image, cut_normalised_patches, pool_patches
from core.results import Heatmap, NoResultError, RgbImage
from core.settings import Settings
from core.statistics.cautions import FEW_PATIENTS, Caution
from core.statistics.compare_maps import (
    RANDOM_MAPS,
    MapCurves,
    MeasuredMap,
    Score,
    blur_away,
    is_flat,
    measure_curves,
    random_like,
    rank_correlation,
    shrink_to_compare,
    summarise_maps,
)
from core.statistics.map_trust import BranchAgreement, MapTrust
from core.statistics.resampling import Interval
from core.wording import count_words
from db.values.evaluations import map_trust_files
from training.evaluation.chosen_images import patients_caution
from training.evaluation.usable_images import none_usable, refuse_unusable
from training.shifts.sets import count_training_patients, name_set, sample_images, unusable_image_cautions

DRAWS = 3  # of the head and of all weights
_OUT = "it is out of scope, and readers see no heat map of it"
_FLAT = "its heat map is the same everywhere"

_console = PlainConsole(stderr=True)  # stdout carries results and nothing else


@dataclass(frozen=True, slots=True)
class MapTrustRequest:
    """A checkpoint, and the images on which to measure its heat maps."""

    checkpoint: Path
    dataset: DatasetName
    roots: tuple[Path, ...]
    most: int = 2  # images of each patient
    outside: bool = False  # whether labels.csv may name links and files outside its folder
    patients: Path | None = None  # a table of the patients of BACH
    device: str = "cpu"


def run(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) whose heat maps to measure.")],
    data: Annotated[list[Path], typer.Option(help="Folder of images, such as its training images; repeatable.")],
    *,
    dataset: Annotated[DatasetName, typer.Option(help="Dataset in the folders.")] = "breakhis",
    images: Annotated[int, typer.Option(min=1, help="Images per patient; if there are more, a random sample.")] = 2,
    patients: Annotated[Path | None, typer.Option(help=PATIENT_TABLE)] = None,
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurement as JSON.")] = False,
) -> None:
    """Measure whether heat maps mark what counts for the network. Research use only; no output is a diagnosis."""
    settings = Settings.from_environment()
    request = MapTrustRequest(checkpoint, dataset, tuple(data), images, outside, patients, settings.device)
    trust = measure_map_trust(request)
    # Before it is written: a full disk must not cost what took minutes.
    if as_json:
        print(trust.to_json(), end="")
    else:
        PlainConsole().print(figure_table(trust), soft_wrap=False)
    print_cautions(_console, trust.warnings)
    file = write_map_trust(checkpoint, trust, settings.evaluations)
    _console.print(f"Saved to {file}; also shown on the Models page.")
    end_if_left_out(trust.warnings)


def write_map_trust(checkpoint: Path, trust: MapTrust, evaluations: Path) -> Path:
    """Write a measurement beside its checkpoint if that has a folder of evaluations, and else to those of this site."""
    beside, here = map_trust_files(checkpoint, trust.model_version, evaluations)
    # What was installed by somebody else stays as it is; what was measured here before would hide the new one.
    may_write = beside.parent.is_dir() and os.access(beside.parent, os.W_OK)
    file = beside if may_write and not here.exists() else here
    write_whole(file, trust.to_json().encode())
    return file


def measure_map_trust(request: MapTrustRequest) -> MapTrust:
    """Measure the heat maps of a checkpoint on a few images of each patient.

    Raises:
        UnusableCheckpointError: If the checkpoint cannot be used.
        OSError: If a folder does not exist.
        ValueError: If no image can be used; the message has the most common reason.
    """
    classifier = load_classifier(request.checkpoint, request.device)
    name = name_set(request.dataset, request.roots[0])
    found = load_folders(request.dataset, request.roots, outside=request.outside, patients=request.patients)
    chosen = sample_images(found, request.most)
    refuse_unusable(name, chosen, classifier.card)
    with progress_bar() as bar:
        task = bar.add_task("curves", total=len(chosen))
        seen, reasons = _see_images(chosen, classifier, lambda: bar.advance(task))
        if not seen:
            raise none_usable(name, [reason for _, reason in reasons])
        drawn = bar.add_task("weights", total=2 * DRAWS * len(seen))
        head, all_weights = (
            _correlate_with_redrawn(seen, request, keep, lambda: bar.advance(drawn)) for keep in (True, False)
        )
    measured = [
        MeasuredMap(one.person, one.curves, of_head, of_all, one.chance, one.branches)
        for one, of_head, of_all in zip(seen, head, all_weights, strict=True)
    ]
    figures = summarise_maps(measured)
    used = [one.image for one in seen]
    couples = zip(combinations(classifier.card.branches, 2), figures.branches, strict=True)
    return MapTrust(
        model_name=classifier.card.name,
        model_version=classifier.version,
        dataset=name,
        images=len(used),
        patients=len({one.person for one in seen}),
        trained_on=count_training_patients(classifier.card, request.dataset, used),
        deletion=figures.deletion,
        insertion=figures.insertion,
        redrawn=figures.redrawn,
        branches=tuple(BranchAgreement(*names, correlation) for names, correlation in couples),
        warnings=_cautions(name, used, reasons, len(chosen)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _SeenMap:
    """One image with what was measured on its map, and the map small, to be compared with others."""

    image: LabelledImage
    um_per_px: float | None
    small: Heatmap
    curves: MapCurves
    chance: float
    branches: tuple[float, ...]

    @property
    def person(self) -> str:
        """The patient; the numbers of two sets are different people."""
        return f"{self.image.dataset} {self.image.patient_id}"


def _see_images(
    images: Sequence[LabelledImage], classifier: Classifier, advance: Callable[[], object]
) -> tuple[list[_SeenMap], list[tuple[str, str]]]:
    """Measure images, and return the names of those that cannot be used with the reasons."""
    seen, reasons = [], []
    for number, image in enumerate(images):
        one = _see(image, classifier.at(image.magnification), np.random.default_rng(number))
        if isinstance(one, str):
            reasons.append((image.path.name, one.rstrip(".")))
        else:
            seen.append(one)
        advance()
    return seen, reasons


def _see(image: LabelledImage, classifier: Classifier, rng: np.random.Generator) -> _SeenMap | str:
    """Measure the map of an image, or return the reason why readers see none."""
    decoded = read_image(image)
    if isinstance(decoded, str):
        return decoded
    um_per_px = known_um_per_px(image.um_per_px, decoded.scale)
    analysis = analyse_image(decoded.pixels, classifier, heatmap=False, um_per_px=um_per_px)
    if analysis.prediction is None:
        return _OUT if analysis.withheld else analysis.reason or "no result"
    # Regions are replaced in what the network sees: a stain normalised anew would change the others too.
    pixels = classifier.normalise(cut_normalised_patches(decoded.pixels, classifier, um_per_px).pixels)
    plain = classifier.with_card(replace(classifier.card, stain=None))
    parts = _maps_of_branches(pixels, plain)
    heatmap = np.sum(parts, axis=0)
    if is_flat(heatmap):
        return _FLAT
    malignant = analysis.prediction.malignancy == "malignant"
    own = heatmap if malignant else -heatmap
    random_maps = [random_like(own, rng) for _ in range(RANDOM_MAPS)]
    blurred = blur_away(pixels, _patch_side(classifier.card, pixels))
    small = shrink_to_compare(heatmap)
    return _SeenMap(
        image,
        um_per_px,
        small,
        measure_curves(pixels, blurred, own, random_maps, _score(plain, malignant=malignant)),
        float(np.mean([abs(rank_correlation(small, shrink_to_compare(one))) for one in random_maps])),
        tuple(rank_correlation(*map(shrink_to_compare, pair)) for pair in combinations(parts, 2)),
    )


def _score(classifier: Classifier, *, malignant: bool) -> Score:
    """Return what computes the probability of a label for an image that is ready for the network."""

    def score(image: RgbImage) -> float:
        probabilities = classifier.classify(cut_normalised_patches(image, classifier).patches)
        probability = pool_patches(probabilities, classifier.card).malignant_probability
        return probability if malignant else 1 - probability

    return score


def _maps_of_branches(image: RgbImage, classifier: Classifier, um_per_px: float | None = None) -> tuple[Heatmap, ...]:
    """Return the map of each branch; their sum is the heat map."""
    cut = cut_normalised_patches(image, classifier, um_per_px)
    return tuple(cut.lay_back(part) for part in classifier.explain_by_branch(cut.patches))


def _patch_side(card: Card, image: RgbImage) -> int:
    return card.input_policy.patch_side if card.input_policy.kind == "patches" else min(image.shape[:2])


def _correlate_with_redrawn(
    seen: Sequence[_SeenMap], request: MapTrustRequest, keep_branches: bool, advance: Callable[[], object]
) -> list[float]:
    """Return for each map how alike it is to those of the network with weights drawn anew, on average over the draws.

    One such network is in memory at a time: an encoder may take gigabytes.
    """
    alike = np.zeros((DRAWS, len(seen)))
    for draw in range(DRAWS):
        redrawn = load_redrawn(request.checkpoint, draw, keep_branches=keep_branches, device=request.device)
        for place, one in enumerate(seen):
            alike[draw, place] = abs(rank_correlation(one.small, _map_of_redrawn(one, redrawn)))
            advance()
    return [float(mean) for mean in alike.mean(axis=0)]


def _map_of_redrawn(seen: _SeenMap, redrawn: Classifier) -> Heatmap:
    """Return the small map of a network with weights drawn anew; one that gives no finite number marks nothing."""
    decoded = read_image(seen.image)
    if isinstance(decoded, str):
        raise OSError(f"{seen.image.path.name}: {decoded}")
    try:
        parts = _maps_of_branches(decoded.pixels, redrawn.at(seen.image.magnification), seen.um_per_px)
    except NoResultError:
        return np.zeros_like(seen.small)
    return resample_map(np.sum(parts, axis=0), *seen.small.shape)


def _cautions(
    name: str, used: Sequence[LabelledImage], reasons: Sequence[tuple[str, str]], chosen: int
) -> tuple[Caution, ...]:
    """Return what a reader of the figures has to know; what was left out is said without the names of files."""
    collected = []
    if (few := len({image.patient_id for image in used})) < FEW_PATIENTS:
        text = f"{name} has only {count_words(few, 'patient')} here: intervals are wide and may still be too narrow"
        collected.append(Caution("few patients", text))
    if caution := patients_caution(used, name):
        collected.append(caution)
    if out := sum(reason == _OUT for _, reason in reasons):
        text = f"{out} of {chosen} images of {name} are out of scope: readers see no heat map of them"
        collected.append(Caution("out of scope", text))
    others = [one for one in reasons if one[1] != _OUT]
    return (*collected, *(caution.without_subject() for caution in unusable_image_cautions(others, chosen, name)))


def figure_table(trust: MapTrust) -> Table:
    """Return a table of all figures with their intervals."""
    known = f"{trust.trained_on} of them in the training"
    title = (
        f"{trust.model_name} {trust.model_version} on {trust.images} images of {trust.patients} patients of "
        f"{trust.dataset}, {known}"
    )
    table = Table("figure", "value", "95% interval", title=title)
    for name, test in (("deletion", trust.deletion), ("insertion", trust.insertion)):
        table.add_row(f"{name}: area under the curve", *_cells(test.area_of_map))
        table.add_row(f"{name}: the same of random maps", *_cells(test.area_of_random))
        table.add_row(f"{name}: advantage of the map", *_cells(test.advantage))
    table.add_row("rank correlation with the map of a new head", *_cells(trust.redrawn.head))
    table.add_row("the same with all weights new", *_cells(trust.redrawn.all_weights))
    table.add_row("the same with random maps", *_cells(trust.redrawn.chance))
    for pair in trust.branches:
        table.add_row(f"rank correlation of {pair.first} and {pair.second}", *_cells(pair.correlation))
    if not trust.branches:
        table.add_row("rank correlation of branches", "one branch", "")
    return table


def _cells(figure: Interval) -> tuple[str, str]:
    interval = "" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"
    return f"{figure.value:.3f}", interval


app = make_app(
    run,
    "python -m training.map_trust models/starter.safetensors --data BREAKHIS",
    UnusableCheckpointError,
    OSError,
    ValueError,
)

if __name__ == "__main__":
    run_app(app)
