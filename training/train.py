"""Train a network as configured by a TOML file, evaluate it on held-out patients, and write the checkpoint.

python -m training.train training/configs/recipes/lite0_head_fine.toml --data BREAKHIS --out models/lite0.safetensors
python -m training.train --resume runs/lite0_head_fine-20261120-140000
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from core.card import Card
from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions
from core.data.datasets import OUTSIDE, PATIENT_TABLE, DatasetName
from core.fitting.config import read_config
from core.fitting.distributed import rank, start, stop, world_size
from core.network.branches import MissingWeightsError
from core.settings import Settings
from core.wording import interval_words
from db.errors import DatabaseBusyError, UnusableDatabaseError
from training.runs.folder import Order, RunFolder
from training.runs.plan import OWN_DATASET, TrainingJob, create_job, reopen_job
from training.runs.run import carry_out

_MISSING_SHOWN = 2  # images and patients; python -m training.audit lists the rest
_INTERRUPTED = 130  # the exit code of a command stopped by Ctrl-C


def run(  # noqa: PLR0913 - one for each option of the command
    config: Annotated[Path | None, typer.Argument(help="TOML file that configures the run.")] = None,
    *,
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder of the dataset; repeat the option for several folders.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the checkpoint to this file.")] = None,
    runs: Annotated[Path, typer.Option(help="Parent folder; the run creates its own folder in it.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="Folder of an unfinished run to continue.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE to override in the config.")] = None,
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Dataset in the folder; the task's own by default.")
    ] = None,
    weights: Annotated[list[str] | None, typer.Option(help="NAME=FILE: pretrained weights of a branch.")] = None,
    lists: Annotated[Path | None, typer.Option(help="Official folds: folder of dsfoldN.txt, or their table.")] = None,
    patients: Annotated[Path | None, typer.Option(help=PATIENT_TABLE)] = None,
    target: Annotated[Path | None, typer.Option(help="Folder of unlabelled images from another laboratory.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder to cache decoded images and features in.")] = None,
    limit: Annotated[int, typer.Option(help="Images per class and patient, for a quick test; 0: all.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: torch decides.")] = 0,
    device: Annotated[str, typer.Option(help="Device: cpu or cuda.")] = "cpu",
    database: Annotated[str | None, typer.Option(help="URL of the database; the app's by default.")] = None,
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard files.")] = False,
    demonstration: Annotated[
        bool, typer.Option("--demonstration/--not-a-demonstration", help="Mark the model as a demonstration.")
    ] = True,
) -> None:
    """Train on every fold or on the split, evaluate on held-out patients, and write the checkpoint with its card."""
    try:
        if resume is not None:
            if config is not None or data or assignments:
                raise ValueError(
                    "a resumed run reads its config and data from its folder: leave out CONFIG, --data and --set"
                )
            folder = RunFolder(resume.resolve())
            order = folder.order()
            # Weights that could not be fetched when the run began may be available as a file now.
            order = replace(order, device=_prepare(order), weights=tuple(weights or order.weights))
            job = replace(reopen_job(folder, outside=outside), order=order)
        elif config is None or not data:
            raise ValueError("pass CONFIG and --data to start a run, or --resume FOLDER to continue one")
        else:
            settings, text = read_config(config, assignments or ())
            order = Order(
                data=data[0].resolve(),
                more=tuple(folder.resolve() for folder in data[1:]),
                dataset=dataset or OWN_DATASET[settings.task],
                out=out and out.resolve(),
                lists=lists and lists.resolve(),
                targets=target and target.resolve(),
                weights=tuple(weights or ()),
                cache=cache and cache.resolve(),
                limit=limit,
                threads=threads,
                device=device,
                tensorboard=tensorboard,
                demonstration=demonstration,
                outside=outside,
                patients=patients and patients.resolve(),
            )
            device = _prepare(order)
            job = replace(create_job(settings, text, order, runs), order=replace(order, device=device))
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    _carry_out(job, database or Settings.from_environment().database)


def _prepare(order: Order) -> str:
    """Join the other processes, if there are any, and return the device of this one."""
    if order.threads:
        torch.set_num_threads(order.threads)
    return start(order.device)


def _carry_out(job: TrainingJob, database: str) -> None:
    """Carry out the run; if it stops early for any reason, print how to continue it."""
    console = PlainConsole(stderr=True, quiet=rank() != 0)
    for text in job.missing[:_MISSING_SHOWN]:
        console.print(f"Incomplete dataset: {text}")
    print_cautions(console, job.cautions)
    how_to_continue = f"Continue with: python -m training.train --resume {job.folder.path}"
    try:
        card = carry_out(job, database)
    except KeyboardInterrupt:
        console.print(f"Stopped. {how_to_continue}")
        raise typer.Exit(_INTERRUPTED) from None
    except BaseException:
        console.print(f"The run ended early. {how_to_continue}")
        raise
    finally:
        stop()
    if card is not None:
        _print_result(console, job, card)
        if world_size() == 1:  # torchrun would report the status as a failed process
            end_if_left_out(job.cautions)


def _print_result(console: PlainConsole, job: TrainingJob, card: Card) -> None:
    for metric in card.metrics:
        figure = interval_words(metric)
        console.print(f"{metric.name}: {figure}, {metric.protocol}")
    size = job.folder.checkpoint.stat().st_size / 1e6
    where = job.order.out or job.folder.checkpoint
    console.print(f"Wrote {where} ({size:.1f} MB). Run folder: {job.folder.path}")


app = make_app(
    run,
    "python -m training.train training/configs/recipes/lite0_head_fine.toml --data BREAKHIS",
    MissingWeightsError,
    UnusableDatabaseError,
    DatabaseBusyError,
)

if __name__ == "__main__":
    run_app(app)
