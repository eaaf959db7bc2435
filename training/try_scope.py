"""Try what a checkpoint declares out of scope: pictures that are no histology, and altered images of tissue.

python -m training.try_scope models/starter.safetensors --data BREAKHIS --pictures 500
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from core.card import UnusableCheckpointError
from core.command_line import make_app, run_app
from core.console import PlainConsole, progress_bar
from core.data.datasets import DatasetName, LabelledImage, load_dataset
from core.data.images import read_image
from core.network.checkpoint import load_classifier
from core.pipeline import analyse_image
from core.results import RgbImage
from training.scopes.pictures import (
    ALTERATIONS,
    GENERATED,
    cut_field,
    generate_picture,
    give_colours,
    photographs,
    simulate_laboratory,
)

_console = PlainConsole(stderr=True)
_LABORATORY = "simulated laboratory"


def run(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) that has a scope.")],
    data: Annotated[Path, typer.Option(help="Folder of tissue images; altered copies of them are tried.")],
    *,
    dataset: Annotated[DatasetName, typer.Option(help="Dataset in the folder.")] = "breakhis",
    pictures: Annotated[int, typer.Option(min=2, help="How many images that are not histology.")] = 500,
    altered: Annotated[int, typer.Option(min=1, help="How many images for each alteration.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn at random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Count how many pictures of each kind are in scope, unusual and out of scope."""
    try:
        classifier = load_classifier(checkpoint)
        images = load_dataset(dataset, data)
        if classifier.scope is None:
            raise ValueError(f"{checkpoint.name} has no scope: fit it with python -m training.scope")
        if not images:
            raise ValueError(f"no images in {data}")
    except (UnusableCheckpointError, OSError, ValueError) as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    working = classifier.card.scale.working if classifier.card.scale else None
    counts: dict[str, Counter[str]] = {}
    with progress_bar() as bar:
        task = bar.add_task("pictures", total=pictures + altered * (len(ALTERATIONS) + 1))
        for kind, picture in _draw(images, pictures, altered, np.random.default_rng(seed)):
            analysis = analyse_image(picture, classifier, heatmap=False, um_per_px=working)
            counts.setdefault(kind, Counter())[analysis.scope.level if analysis.scope else "unreadable"] += 1
            bar.advance(task)
    if as_json:
        print(json.dumps(counts))
        return
    for kind, found in counts.items():
        total = found.total()
        levels = ", ".join(
            f"{level} {found[level]}" for level in ("in", "unusual", "out", "unreadable") if found[level]
        )
        print(f"{kind}: {found['out'] / total:.1%} of {total} out of scope ({levels})")


def _draw(
    images: list[LabelledImage], pictures: int, altered: int, random: np.random.Generator
) -> Iterator[tuple[str, RgbImage]]:
    """Yield pictures, half of them from installed packages and half generated, and then altered images of tissue."""
    chosen = [images[number] for number in random.permutation(len(images))[:altered]]
    tissue = [image for one in chosen if (image := _read(one)) is not None]
    photos = [picture for _, picture in photographs()]
    for number, photo in enumerate(islice(cycle(photos), pictures // 2)):
        field = cut_field(photo, random)
        in_colours = number % 3 == 0
        yield (
            ("photographs in the colours of tissue", give_colours(field, tissue[number % len(tissue)]))
            if in_colours
            else ("photographs", field)
        )
    for kind in islice(cycle(GENERATED), pictures - pictures // 2):
        yield "generated pictures", generate_picture(kind, random)
    for name, alter in ALTERATIONS.items():
        yield from ((name, alter(image)) for image in tissue)
    yield from ((_LABORATORY, simulate_laboratory(image, random)) for image in tissue)


def _read(image: LabelledImage) -> RgbImage | None:
    decoded = read_image(image)
    if isinstance(decoded, str):
        _console.print(f"left out: {image.path.name}: {decoded}")
        return None
    return decoded.pixels


app = make_app(run, "python -m training.try_scope models/starter.safetensors --data BREAKHIS --pictures 500")

if __name__ == "__main__":
    run_app(app)
