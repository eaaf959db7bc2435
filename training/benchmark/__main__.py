"""Time this project's code against named peers, alternating within one run: `python -m training.benchmark`.

Every figure is the median of paired ratios with its spread; single times mean little on a shared machine.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import torch
import typer
from rich.table import Table

from core.command_line import make_app, run_app
from core.console import PlainConsole
from training.benchmark.agreement import agreement
from training.benchmark.backends import backends, resnet_patches
from training.benchmark.input import input_pipeline
from training.benchmark.metrics import bootstrap
from training.benchmark.one_engine import one_engine
from training.benchmark.search import similar_images
from training.benchmark.serving import imports, loading, networks, preprocessing
from training.benchmark.store import store
from training.benchmark.timing import Ratio
from training.benchmark.training import frozen_phase

PARTS: tuple[Callable[[int], list[Ratio]], ...] = (
    preprocessing,
    imports,
    networks,
    backends,
    resnet_patches,
    loading,
    bootstrap,
    frozen_phase,
    input_pipeline,
    similar_images,
    one_engine,
    store,
    agreement,
)
_NAMES = ", ".join(part.__name__ for part in PARTS)


def benchmark(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    rounds: Annotated[int, typer.Option(help="Number of paired rounds; fast steps run up to four times as many.")] = 7,
    only: Annotated[list[str] | None, typer.Option(help=f"Run only this part; repeatable. Parts: {_NAMES}.")] = None,
) -> None:
    """Run the benchmark and print each figure beside its goal."""
    if unknown := set(only or ()) - {part.__name__ for part in PARTS}:
        raise typer.BadParameter(f"unknown part {', '.join(sorted(unknown))}; the parts are {_NAMES}")
    console = PlainConsole(stderr=True)
    ratios: list[Ratio] = []
    for part in PARTS:
        if only and part.__name__ not in only:
            continue
        console.print(f"{part.__name__} ...")
        ratios += part(rounds)
    if as_json:
        print(json.dumps({"threads": torch.get_num_threads(), "ratios": [asdict(ratio) for ratio in ratios]}, indent=1))
        return
    table = Table("figure", "goal", "median", "spread", "rounds", "note", title=f"{torch.get_num_threads()} threads")
    for r in ratios:
        table.add_row(r.name, r.goal, f"{r.median:.3g}", f"{r.low:.3g} - {r.high:.3g}", str(r.rounds), r.note)
    PlainConsole(width=150).print(table, soft_wrap=False)


app = make_app(benchmark, "python -m training.benchmark --only preprocessing --rounds 3")

if __name__ == "__main__":
    run_app(app)
