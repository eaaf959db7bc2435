"""Carry out a run from the first part to the checkpoint, with its row in the database; a killed run can be resumed."""

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from core.card import Card, checkpoint_sha256, read_card
from core.files import write_whole
from core.fitting.config import FitConfig
from core.fitting.distributed import rank, stop
from core.fitting.loop import Work
from core.imaging.decode import decode_image
from core.network.backends import UnusableBackendError
from core.network.checkpoint import save_checkpoint
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork
from core.precision import compare
from db import store
from db.database import open_database
from db.values.evaluations import RunState
from training.evaluation.chosen_images import ChosenImage
from training.evaluation.predictions import Judge, JudgedImage, judgements_of, save_predictions
from training.runs.card import build_card, card_of_part, with_figures, with_temperature
from training.runs.folder import RunFolder, copy_whole
from training.runs.parts import WARM_UP, Trainer, planned_epochs
from training.runs.plan import RunPlan, TrainingJob
from training.runs.record import Record, draw_curves
from training.runs.remembering import Outputs, RememberingClassifier


class RunEntry:
    """The row of a run in the database; a resumed run keeps its row."""

    def __init__(self, database: str, folder: RunFolder, config: FitConfig) -> None:
        self._sessions = open_database(database)
        with self._sessions.begin() as session:
            self._id = store.models.start_run(session, config.name, str(folder.path), json.dumps(config.flat()))

    def finish(self, history: str, checkpoint_sha256: str) -> None:
        """Record that the run has written its checkpoint."""
        self._end(RunState.FINISHED, history, checkpoint_sha256)

    def fail(self, history: str) -> None:
        """Record that the run ended without a checkpoint; it can still be resumed."""
        self._end(RunState.FAILED, history, None)

    def _end(self, state: RunState, history: str, checkpoint_sha256: str | None) -> None:
        with self._sessions.begin() as session:
            store.models.finish_run(session, self._id, state, history, checkpoint_sha256)
        self._sessions.dispose()


def carry_out(job: TrainingJob, database: str) -> Card | None:
    """Train, evaluate and save; a finished run is not repeated. Return the card, in the leading process only."""
    if rank() == 0:
        return _carry_out_and_record(job, RunEntry(database, job.folder, job.config))
    with _open_record(job) as record:
        _train(_build_trainer(job, record), job)
    return None


def _carry_out_and_record(job: TrainingJob, entry: RunEntry) -> Card:
    with _open_record(job) as record:
        try:
            if not job.folder.card.exists():
                _train_and_evaluate(job, _build_trainer(job, record))
        except BaseException:
            entry.fail(record.history)
            raise
        if job.order.out:
            copy_whole(job.folder.checkpoint, job.order.out)
        entry.finish(record.history, checkpoint_sha256(job.folder.checkpoint))
        shutil.rmtree(job.folder.parts, ignore_errors=True)
    return read_card(job.folder.checkpoint)


def _open_record(job: TrainingJob) -> Record:
    planned = planned_epochs(job.plan, job.config)
    return Record(job.folder, planned, tensorboard=job.order.tensorboard, leads=rank() == 0)


def _build_trainer(job: TrainingJob, record: Record) -> Trainer:
    # Without --cache the folds still share their features until the run is finished.
    cache = job.order.cache or (job.folder.parts / "cache" if job.config.caches_features else None)
    pool = job.plan.final.train if job.plan.final else ()
    work = Work(cache=cache, targets=job.targets, pool=pool, device=job.order.device)
    return Trainer(job.config, job.folder.parts, work, record)


def _train(trainer: Trainer, job: TrainingJob) -> HybridNetwork:
    """Train every part of the plan and return the network that all parts start from."""
    start = trainer.start(job.weight_files)
    for part in job.plan.parts:
        trainer.train(start, part)
    # Only the leading process goes on: the others would wait at a barrier for up to an hour of evaluation.
    stop()
    return start


def _train_and_evaluate(job: TrainingJob, trainer: Trainer) -> None:
    start = _train(trainer, job)
    card = build_card(job.plan, job.config, job.folder.code_version(), demonstration=job.order.demonstration)
    card = judge_run(job.folder, trainer, start, job.plan, card)
    save_run(job.folder, trainer, start, job.plan, card)


@dataclass(slots=True)
class _Networks:
    """The network of every fold under one card; images come fold by fold, so only one is in memory at a time."""

    trainer: Trainer
    start: HybridNetwork
    plan: RunPlan
    card: Card
    outputs: dict[int, Outputs]  # by fold; two passes over the same images share them
    _loaded: dict[int, Classifier] = field(default_factory=dict)

    def __call__(self, fold: int | None) -> Classifier:
        number = fold or 1
        if number not in self._loaded:
            self._loaded.clear()
            network = self.trainer.network(self.start, self.plan.judged[number - 1])
            outputs = self.outputs.setdefault(number, Outputs())
            self._loaded[number] = RememberingClassifier(network, self.card, self.trainer.work.device, outputs)
        return self._loaded[number]


def judge_run(folder: RunFolder, trainer: Trainer, start: HybridNetwork, plan: RunPlan, card: Card) -> Card:
    """Evaluate the held-out images without and with the temperature; return the card with the locked results."""
    chosen = [
        ChosenImage(image, number if plan.final else None)
        for number, part in enumerate(plan.judged, start=1)
        for image in part.validation
    ]
    trainer.record.judging(2 * len(chosen))
    outputs: dict[int, Outputs] = {}
    raw = _judge_images(folder, trainer, "raw", _Networks(trainer, start, plan, card, outputs), chosen)
    card = with_temperature(card, judgements_of(raw, card), plan.source)
    judged = _judge_images(folder, trainer, "calibrated", _Networks(trainer, start, plan, card, outputs), chosen)
    left_out = [image for image in judged if image.reason is not None]
    for image in left_out:
        trainer.record.say(f"no prediction for {image.file}: {image.reason}")
    save_predictions(folder.path / "predictions.parquet", judged, card)
    return with_figures(card, judgements_of(judged, card), plan, trainer.config.sensitivity)


def save_run(folder: RunFolder, trainer: Trainer, start: HybridNetwork, plan: RunPlan, card: Card) -> None:
    """Save the network of every fold, the checkpoint, the curves and the card."""
    if plan.final:
        for number, part in enumerate(plan.judged, start=1):
            save_checkpoint(folder.fold(number), trainer.network(start, part), card_of_part(card, part))
    network = trainer.network(start, plan.parts[-1])
    if trainer.config.precision == "bf16":
        card = _with_gated_precision(network, card, plan)
    save_checkpoint(folder.checkpoint, network, card)
    write_whole(
        folder.path / "curves.png", draw_curves([part.epochs for part in trainer.record.parts if part.part != WARM_UP])
    )
    write_whole(folder.card, card.to_json().encode())


def _judge_images(
    folder: RunFolder, trainer: Trainer, name: str, networks: _Networks, chosen: Sequence[ChosenImage]
) -> list[JudgedImage]:
    order = folder.order()
    judge = Judge(networks, order.data, journal=folder.parts / f"judged-{name}.jsonl", more=order.more)
    return judge.judge(chosen, trainer.record.judged)


def _with_gated_precision(network: HybridNetwork, card: Card, plan: RunPlan) -> Card:
    """Return the card with bf16 if that passes on the validation images (with folds: on all images), else with fp32."""
    images = plan.final.train if plan.final else plan.judged[0].validation
    decoded = ((decode_image(image.path.read_bytes()).pixels, image.um_per_px) for image in images)
    classifier = Classifier(copy.deepcopy(network), replace(card, precision="fp32"), "unsaved")
    try:
        difference = compare(classifier, classifier.computed_by("torch-bf16"), decoded)
    except UnusableBackendError:
        return replace(card, precision="fp32")
    return replace(card, precision="bf16" if difference.passed else "fp32")
