"""Which stored evaluation is looked at, beside which other one, and which of its images."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.statistics.evaluation import Confusion, Evaluation
from db.values.evaluations import Cell, EvaluatedImage, EvaluationRow
from pages.ui import formatting, resources
from pages.ui.without_names import Numbers, evaluation_without_names, images_without_names, numbers_of

VIEWS = ("Curves", "Images", "Patients", "Groups")
VIEW = "evaluation-view"
SHOWN = "evaluation-images-of"  # in the session: the id of the evaluation whose images are shown
EVERY = -1  # in place of a cell: every image
_COMMAND = "python -m training.evaluate models/starter.safetensors --dataset breakhis --data FOLDER"


@dataclass(frozen=True, slots=True)
class Stored:
    """An evaluation as stored and as read."""

    row: EvaluationRow
    found: Evaluation
    numbers: Numbers | None = None  # for names, where these may not be known

    @property
    def key(self) -> str:
        """What tells the widgets of this evaluation from those of others."""
        return f"evaluation-{self.row.id}"

    def images(self, images: Sequence[EvaluatedImage]) -> Sequence[EvaluatedImage]:
        """Give images as they may be shown."""
        return images if self.numbers is None else images_without_names(images, self.numbers)


def nothing_yet() -> None:
    """Say how the first evaluation is made."""
    st.subheader("No evaluation yet")
    st.markdown("Judge a checkpoint on labelled images, with the same SECOND_READ_DATA as this app:")
    st.code(_COMMAND, "bash")


def choose(rows: Sequence[EvaluationRow]) -> list[Stored]:
    """Ask for dataset, split, model and perhaps another one; give one or two that can be read."""
    model, against, dataset, split = st.columns([2, 2, 1, 1])
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    of = dataset.selectbox("Dataset", datasets, key="evaluation-dataset", persist_state="session")
    splits = list(dict.fromkeys(row.split for row in rows if row.dataset == of))
    part = split.selectbox("Split", splits, key="evaluation-split", persist_state="session")
    here = {row.id: row for row in rows if (row.dataset, row.split) == (of, part)}
    first = model.selectbox(
        "Model",
        list(here),
        format_func=lambda number: _words(here[number], rows),
        key="evaluation-model",
        persist_state="session",
    )
    others = {row.id: row for row in rows if row.id != first}
    second = against.selectbox(
        "Beside",
        sorted(others, key=lambda number: number not in here),
        index=None,
        format_func=lambda number: _words(others[number], rows, None if number in here else others[number]),
        placeholder="no other model" if others else "no other evaluation is stored",
        disabled=not others,
        key="evaluation-beside",
        persist_state="session",
    )
    wanted = [here[first], *([others[second]] if second is not None else [])]
    return [stored for row in wanted if (stored := _read(row)) is not None]


def show_images(stored: Stored, cell: int, patient: str | None = None) -> None:
    """Turn to the images of a cell, or of a patient."""
    st.session_state[SHOWN] = stored.row.id
    st.session_state[cell_key(stored)] = cell
    st.session_state[patient_key(stored)] = patient
    st.session_state[VIEW] = "Images"


def shown_of(chosen: Sequence[Stored]) -> Stored:
    """Give the evaluation whose images are shown."""
    return next((one for one in chosen if one.row.id == st.session_state.get(SHOWN)), chosen[0])


def confusion_of(stored: Stored) -> Confusion:
    """Give the matrix that is looked at: benign and malignant, or the classes."""
    classes = st.session_state.get("evaluation-classes") == "classes"
    return stored.found.confusions[-1 if classes else 0]


def cell_key(stored: Stored) -> str:
    """Name the state that holds the chosen cell; each matrix of an evaluation has its own."""
    return f"{stored.key}-cell-{len(confusion_of(stored).classes)}"


def patient_key(stored: Stored) -> str:
    """Name the state that holds the chosen patient."""
    return f"{stored.key}-patient"


def cell_of(stored: Stored, patient_id: str | None = None, magnification: str | None = None) -> Cell:
    """Say which images the store is to give."""
    place: int = st.session_state.get(cell_key(stored), EVERY)
    if stored.numbers is not None:
        patient_id = stored.numbers.patient_of(patient_id)
    if place == EVERY:
        return Cell(patient_id=patient_id, magnification=magnification)
    confusion = confusion_of(stored)
    truth, called = divmod(place, len(confusion.classes))
    if confusion is stored.found.confusions[0]:
        sides = bool(truth), bool(called)
        return Cell(None, None, *sides, patient_id, magnification)
    labels = confusion.classes[truth], confusion.classes[called]
    return Cell(*labels, None, None, patient_id, magnification)


def cell_words(confusion: Confusion, place: int) -> str:
    """Name a cell of a matrix, with how many images it holds."""
    if place == EVERY:
        return f"every image ({sum(map(sum, confusion.counts)):,})"
    truth, called = divmod(place, len(confusion.classes))
    names = [confusion.classes[one].replace("_", " ") for one in (truth, called)]
    return f"truth {names[0]}, called {names[1]} ({confusion.counts[truth][called]:,})"


def _words(row: EvaluationRow, rows: Sequence[EvaluationRow], elsewhere: EvaluationRow | None = None) -> str:
    """Name a model, by its moment too where it was judged on the same images more than once."""
    name = f"{row.model_name} {row.model_version}"
    alike = [r for r in rows if (r.model_version, r.dataset, r.split) == (row.model_version, row.dataset, row.split)]
    when = f" – {formatting.day_and_clock(row.at)}" if len(alike) > 1 else ""
    where = f" on {elsewhere.dataset}, {elsewhere.split}" if elsewhere else ""
    return f"{name}{where}{when}"


def _read(row: EvaluationRow) -> Stored | None:
    try:
        found = Evaluation.from_json(row.document)
    except ValueError as error:
        st.error(
            f"The evaluation of {formatting.plain(row.model_name)} of {formatting.day_and_clock(row.at)} cannot be "
            f"read: {formatting.plain(str(error))}. Judge the model again with python -m training.evaluate."
        )
        return None
    if resources.sees_names():
        return Stored(row, found)
    numbers = numbers_of(row.document, found)
    return Stored(row, evaluation_without_names(found, numbers), numbers)
