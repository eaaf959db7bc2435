"""Tables to download, as CSV and as XLSX, in which spreadsheet software finds no formula to run."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from core.files import csv_bytes
from core.labels import Malignancy
from core.list_on_disk import ListOnDisk
from core.statistics.rates import Rate
from db.values.audit import EVENT_COLUMNS
from pages.ui.column_meanings import explain_column

if TYPE_CHECKING:  # no page needs all of them
    from core.results import Reading, ReadOpinion
    from core.run_history import PartHistory
    from core.statistics.evaluation import Evaluation
    from core.statistics.shift import Shift
    from db.values.audit import AuditEvent
    from db.values.evaluations import EvaluatedImage
    from db.values.reading import Read
    from pages.ui.agreement.figures import FigureCell, Table

_EPOCH = ("part", "epoch", "phase", "learning_rate", "loss", "validation_loss", "validation_auc", "seconds")
_READ = (
    *("case", "stage", "label", "confidence", "subtype", "reason", "map_useful", "note"),
    *("model_visible", "model_scope", "opened_at", "saved_at", "read", "replaces"),
)
_FIGURE = ("of", "name", "figure", "unit", "n", "value", "low", "high")
_STATISTIC = ("source", "target", "statistic", "unit", "source_median", "target_median", "difference_in_sd", "p")
_PREDICTION = (
    *("file", "patient_id", "magnification", "label", "predicted"),
    *("malignant", "called_malignant", "malignant_probability", "notes"),
)
_AGREEMENT = ("view", "of", "figure", "hits", "n", "value", "low", "high")
_READING = (
    *("case", "magnification", "demonstration", "reader", "iteration"),
    *("first_label", "first_confidence", "first_seconds", "final_label", "final_confidence", "final_seconds"),
    *("standing_label", "standing_confidence", "model_label", "model", "map_useful", "reference_label"),
)


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table to download; `data` is its CSV file, whose name contains a hash of its bytes.

    Streamlit identifies files by little else.
    """

    name: str
    data: bytes
    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]

    def make_workbook(self) -> bytes:
        """Return the same table as XLSX, with a sheet that explains its columns."""
        # Importing takes a quarter of a second, and pages do not need it until a workbook is requested.
        from core.workbook import write_workbook  # noqa: PLC0415

        return write_workbook([(name, explain_column(name)) for name in self.columns], self.rows)


def reads_csv(reads: Iterable["Read"], accessions: Mapping[int, str]) -> TableFile:
    """Write reads, oldest first, times in UTC."""
    return _make_table("reads", _READ, ListOnDisk(_read_values(read, accessions) for read in reads))


def history_csv(parts: Iterable["PartHistory"]) -> TableFile:
    """Write the epochs of a training run, part by part."""
    rows = (
        (part.part, e.number, e.phase, e.learning_rate, e.loss, e.validation_loss, e.validation_auc, e.seconds)
        for part in parts
        for e in part.epochs
    )
    return _make_table("training", _EPOCH, rows)


def figures_csv(evaluation: "Evaluation") -> TableFile:
    """Write every figure of an evaluation: for all images, then for each magnification, subtype and patient."""
    of_groups = ((group.kind, group.name, figure) for group in evaluation.groups for figure in group.figures)
    rows = (
        (kind, name, f.name, f.unit, f.n, f.value, f.low, f.high)
        for kind, name, f in chain((("all", "", figure) for figure in evaluation.figures), of_groups)
    )
    return _make_table("figures", _FIGURE, rows)


def predictions_csv(images: Iterable["EvaluatedImage"], classes: Sequence[str]) -> TableFile:
    """Write the prediction for every image of an evaluation; `classes` names the probability columns."""
    rows = (
        (
            *(image.name, image.patient_id, image.magnification, image.label, image.predicted),
            *(image.malignant, image.called_malignant, image.malignant_probability),
            *("; ".join(image.notes), *image.probabilities),
        )
        for image in images
    )
    return _make_table("predictions", (*_PREDICTION, *(f"p_{name}" for name in classes)), rows)


def statistics_csv(shift: "Shift") -> TableFile:
    """Write the tissue statistics of two image sets, one row for each statistic."""
    rows = (
        (shift.source, shift.target, f.name, f.unit, f.source_median, f.target_median, f.difference, f.p)
        for f in shift.distributions
    )
    return _make_table("statistics", _STATISTIC, rows)


def agreement_csv(tables: Iterable[tuple[str, "Table"]]) -> TableFile:
    """Write the figures of agreement, view by view; an undefined figure has no value."""
    rows = (
        (view, line.name, column, *_cell_values(cell))
        for view, table in tables
        for line in table.lines
        for column, cell in zip(table.columns, line.cells, strict=True)
    )
    return _make_table("agreement", _AGREEMENT, rows)


def readings_csv(readings: Iterable["Reading"], references: Mapping[int, Malignancy]) -> TableFile:
    """Write one row for each time a reader read a case, with the reference label of the case if it has one."""
    rows = (
        (
            *(one.accession, one.magnification, one.demonstration, one.reader, one.iteration),
            *(_label(one.first), one.first.confidence, round(one.first.seconds, 1)),
            *((_label(one.final), one.final.confidence, round(one.final.seconds, 1)) if one.final else (None,) * 3),
            *((_label(one.standing), one.standing.confidence, _model(one.standing)) if one.standing else (None,) * 3),
            *(one.model_version, one.vote, references.get(one.case_id)),
        )
        for one in readings
    )
    return _make_table("readings", _READING, rows)


def events_csv(events: Iterable["AuditEvent"]) -> TableFile:
    """Write events of the audit trail, in the order given, times in UTC."""
    rows = (
        (one.number, one.at.isoformat(sep=" ", timespec="seconds"), one.account, one.action, one.subject)
        for one in events
    )
    return _make_table("audit", [name for name, _ in EVENT_COLUMNS], ListOnDisk(rows))


def _cell_values(cell: "FigureCell") -> tuple[object, ...]:
    figure = cell.value
    if figure is None or math.isnan(figure.value):
        return (None, cell.n, None, None, None)
    hits = figure.hits if isinstance(figure, Rate) else None
    return (hits, cell.n, figure.value, figure.low, figure.high)


def _label(read: "ReadOpinion") -> str:
    return read.label or "cannot assess"


def _model(read: "ReadOpinion") -> str | None:
    return "no opinion" if read.withheld else read.model


def _make_table(name: str, columns: Sequence[str], rows: Iterable[tuple[object, ...]]) -> TableFile:
    # Very many rows are on the disk already.
    kept = rows if isinstance(rows, ListOnDisk) else tuple(rows)
    data = csv_bytes(columns, kept)
    return TableFile(f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.csv", data, tuple(columns), kept)


def _read_values(read: "Read", accessions: Mapping[int, str]) -> tuple[object, ...]:
    opinion = read.opinion
    return (
        accessions.get(read.case_id, read.case_id),
        read.stage.value,
        opinion.label or "cannot assess",
        opinion.confidence,
        opinion.subtype,
        opinion.reason,
        opinion.vote.value if opinion.vote else None,
        opinion.note,
        read.model_visible,
        read.shown_scope,
        read.opened_at.isoformat(),
        read.saved_at.isoformat(),
        read.id,
        read.supersedes,
    )
