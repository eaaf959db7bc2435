"""Give the vision transformer of a hybrid a start without pretrained weights: distil it from the convolutional branch.

python -m training.distil training/configs/starter.toml --data BREAKHIS --out vit.safetensors
python -m training.train training/configs/starter.toml --data BREAKHIS --weights NAME=vit.safetensors
"""

from collections import deque
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file

from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions, progress_bar
from core.data.datasets import OUTSIDE, DatasetName, load_folders
from core.data.left_out import dataset_cautions
from core.fitting.config import read_config
from core.fitting.distillation import Distillation, DistilledStep, distil
from core.imaging.limits import UnreadableImageError
from core.network.branches import MissingWeightsError
from training.runs.plan import OWN_DATASET, filter_images, scale_cautions

_AVERAGED = 50  # steps in the printed share, which differs from batch to batch
_DEFAULTS = Distillation()
_console = PlainConsole(stderr=True)


def run(  # noqa: PLR0913 - one for each option of the command
    config: Annotated[Path, typer.Argument(help="TOML file of a run whose network has one branch of either kind.")],
    data: Annotated[
        list[Path], typer.Option(help="Folder of the dataset, whose labels are not used; repeat for several folders.")
    ],
    out: Annotated[Path, typer.Option(help="File for the weights of the transformer (.safetensors).")],
    *,
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Dataset in the folder; the task's own by default.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Number of steps.")] = _DEFAULTS.steps,
    batch_size: Annotated[int, typer.Option(help="Patches in a step.")] = _DEFAULTS.batch_size,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = _DEFAULTS.learning_rate,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE to override in the config.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder to cache decoded images in.")] = None,
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: torch decides.")] = 0,
    device: Annotated[str, typer.Option(help="Device: cpu or cuda.")] = "cpu",
) -> None:
    """Distil the transformer of a hybrid from its convolutional branch, and write its weights for training.train.

    Run the command again to resume after a break. Research use only.
    """
    if threads:
        torch.set_num_threads(threads)
    last: deque[float] = deque(maxlen=_AVERAGED)
    state = out.with_name(f"{out.name}.state")
    try:
        settings, _ = read_config(config, assignments or ())
        name = dataset or OWN_DATASET[settings.task]
        found = load_folders(name, data, outside=outside)
        images = filter_images(found, settings, most=0)
        how = Distillation(steps, batch_size, learning_rate)
        cautions = [*dataset_cautions(name, data[0], found, *data[1:]), *scale_cautions(images, settings)]
        print_cautions(_console, cautions)
        with progress_bar() as bar:
            task = bar.add_task("distilling", total=steps)

            def show(step: DistilledStep) -> None:
                last.append(step.explained)
                words = f"distilling, {sum(last) / len(last):.1%} of the variance"
                bar.update(task, completed=step.number, description=words)

            weights = distil(settings, images, how, state=state, cache=cache, device=device, progress=show)
        save_file(weights, out)
    except (ValueError, OSError, UnreadableImageError) as error:
        raise typer.BadParameter(str(error)) from error
    state.unlink(missing_ok=True)
    explained = f" It predicts {sum(last) / len(last):.1%} of the variance of the feature map." if last else ""
    print(f"Wrote {out} from {len(images)} images, whose labels were not used.{explained}")
    end_if_left_out(cautions)


app = make_app(
    run,
    "python -m training.distil training/configs/starter.toml --data BREAKHIS --out vit.safetensors",
    MissingWeightsError,
)

if __name__ == "__main__":
    run_app(app)
