"""Ask which stored evaluations to show, and which of their images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from core.statistics.evaluation import Confusion, Evaluation
from core.wording import count_words
from db.values.accounts import Permission
from db.values.evaluations import EvaluatedImage, EvaluationRow, HiddenImages, ImageFilter
from pages.ui import formatting, resources, times
from pages.ui.without_names import Numbers, assign_numbers, evaluation_without_names, images_without_names

VIEWS = ("Curves", "Images", "Patients", "Groups")
VIEW = "evaluation-view"
SHOWN = "evaluation-images-of"  # session key: the id of the evaluation whose images are shown
EVERY = -1  # instead of a cell: all images
_WITHOUT_HASHES = (
    "this evaluation was made by an older version and does not record which images it contains. Its images and "
    "patients are not shown while you have cases to finish. To see them, evaluate the model again with "
    "python -m training.evaluate."
)
_COMMAND = "python -m training.evaluate models/starter.safetensors --dataset breakhis --data FOLDER"


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """A stored evaluation, and what its document says as this reader may see it."""

    row: EvaluationRow
    evaluation: Evaluation
    numbers: Numbers | None = None  # in place of names, for readers who may not see these
    hidden: HiddenImages | None = None  # from readers with cases to finish

    @property
    def key(self) -> str:
        """The beginning of the keys of all widgets of this evaluation."""
        return f"evaluation-{self.row.id}"

    def images(self, images: Sequence[EvaluatedImage]) -> Sequence[EvaluatedImage]:
        """Return images as this reader may see them: with numbers for names where required, and with their notes."""
        noted = [replace(image, notes=self._notes_of(image.position)) for image in images]
        return noted if self.numbers is None else images_without_names(noted, self.numbers)

    def _notes_of(self, position: int) -> tuple[str, ...]:
        return tuple(note.note for note in self.evaluation.notes if note.position == position)


def draw_empty_page() -> None:
    """Explain how to make the first evaluation."""
    st.subheader("No evaluation yet")
    st.markdown("Evaluate a checkpoint on labelled images with the same SECOND_READ_DATA as this app:")
    st.code(_COMMAND, "bash")


def ask_evaluations(rows: Sequence[EvaluationRow]) -> list[StoredEvaluation]:
    """Ask for dataset, split, model and, optionally, a second evaluation; return those that can be read."""
    model, against, dataset, split = st.columns([2, 2, 1, 1])
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    chosen_dataset = dataset.selectbox("Dataset", datasets, key="evaluation-dataset", persist_state="session")
    splits = list(dict.fromkeys(row.split for row in rows if row.dataset == chosen_dataset))
    chosen_split = split.selectbox("Split", splits, key="evaluation-split", persist_state="session")
    here = {row.id: row for row in rows if (row.dataset, row.split) == (chosen_dataset, chosen_split)}
    first = model.selectbox(
        "Model",
        list(here),
        format_func=lambda number: _row_words(here[number], rows),
        key="evaluation-model",
        persist_state="session",
    )
    others = {row.id: row for row in rows if row.id != first}
    second = against.selectbox(
        "Compare with",
        sorted(others, key=lambda number: number not in here),
        index=None,
        format_func=lambda number: _row_words(others[number], rows, None if number in here else others[number]),
        placeholder="no other model" if others else "no other evaluation",
        disabled=not others,
        key="evaluation-beside",
        persist_state="session",
    )
    chosen = [here[first], *([others[second]] if second is not None else [])]
    return [stored for row in chosen if (stored := _read_evaluation(row)) is not None]


def choose_images(stored: StoredEvaluation, cell: int, patient: str | None = None) -> None:
    """Switch to the images of a cell, or of a patient."""
    st.session_state[SHOWN] = stored.row.id
    st.session_state[cell_key(stored)] = cell
    st.session_state[patient_key(stored)] = patient
    st.session_state[VIEW] = "Images"


def evaluation_with_images(chosen: Sequence[StoredEvaluation]) -> StoredEvaluation:
    """Return the evaluation whose images are shown."""
    return next((one for one in chosen if one.row.id == st.session_state.get(SHOWN)), chosen[0])


def confusion_of(stored: StoredEvaluation) -> Confusion:
    """Return the matrix that is shown: of benign and malignant, or of all classes."""
    classes = st.session_state.get("evaluation-classes") == "classes"
    return stored.evaluation.confusions[-1 if classes else 0]


def cell_key(stored: StoredEvaluation) -> str:
    """Return the session key of the chosen cell; each matrix of an evaluation has its own."""
    return f"{stored.key}-cell-{len(confusion_of(stored).classes)}"


def patient_key(stored: StoredEvaluation) -> str:
    """Return the session key of the chosen patient."""
    return f"{stored.key}-patient"


def cell_of(stored: StoredEvaluation, patient_id: str | None = None, magnification: str | None = None) -> ImageFilter:
    """Return the filter of images for the store: the chosen cell, patient and magnification."""
    place: int = st.session_state.get(cell_key(stored), EVERY)
    if stored.numbers is not None:
        patient_id = stored.numbers.patient_of(patient_id)
    if place == EVERY:
        return ImageFilter(patient_id=patient_id, magnification=magnification)
    confusion = confusion_of(stored)
    truth, predicted = divmod(place, len(confusion.classes))
    if confusion is stored.evaluation.confusions[0]:
        malignant = bool(truth), bool(predicted)
        return ImageFilter(None, None, *malignant, patient_id, magnification)
    labels = confusion.classes[truth], confusion.classes[predicted]
    return ImageFilter(*labels, None, None, patient_id, magnification)


def cell_words(confusion: Confusion, place: int) -> str:
    """Describe a cell of a matrix, with its number of images."""
    if place == EVERY:
        return f"all images ({sum(map(sum, confusion.counts)):,})"
    truth, predicted = divmod(place, len(confusion.classes))
    names = [confusion.classes[one].replace("_", " ") for one in (truth, predicted)]
    return f"truth {names[0]}, predicted {names[1]} ({confusion.counts[truth][predicted]:,})"


def _row_words(row: EvaluationRow, rows: Sequence[EvaluationRow], elsewhere: EvaluationRow | None = None) -> str:
    """Write model and version, with the time where it was evaluated on the same images more than once."""
    name = f"{row.model_name} {row.model_version}"
    same = [r for r in rows if (r.model_version, r.dataset, r.split) == (row.model_version, row.dataset, row.split)]
    when = f" – {times.format_date_time(row.at)}" if len(same) > 1 else ""
    when = " – shipped with the model" if row.shipped else when
    where = f" on {elsewhere.dataset}, {elsewhere.split}" if elsewhere else ""
    return f"{name}{where}{when}"


def _read_evaluation(row: EvaluationRow) -> StoredEvaluation | None:
    try:
        evaluation = Evaluation.from_json(row.document)
    except ValueError as error:
        st.error(
            f"The evaluation of {formatting.escape(row.model_name)} from {times.format_date_time(row.at)} cannot "
            f"be read: {formatting.escape(str(error))}. Evaluate the model again with python -m training.evaluate."
        )
        return None
    reader = resources.account().id
    hidden = resources.evaluations().hidden(row)
    if hidden is None and resources.sees_names():
        return StoredEvaluation(row, evaluation)
    numbers = assign_numbers(row.document, evaluation)
    visible = _without_hidden(row, evaluation, hidden, reader)
    if visible is None:
        return None
    return StoredEvaluation(row, evaluation_without_names(visible, numbers), numbers, hidden)


def _without_hidden(
    row: EvaluationRow, evaluation: Evaluation, hidden: HiddenImages | None, reader: int
) -> Evaluation | None:
    """Return what a reader may see of an evaluation, and say what is missing; None if nothing is left."""
    if hidden is None or not hidden.positions:
        return evaluation
    name = formatting.escape(f"{row.model_name} {row.model_version}")
    if hidden.without_hashes:
        from service.evaluation_for_reader import show_figures_only  # noqa: PLC0415 - old evaluations only

        st.info(f"{name}: {_WITHOUT_HASHES}")
        return show_figures_only(evaluation)
    images = count_words(len(hidden.positions), "image")
    visible = resources.measure_visible(reader, hidden, row)
    if visible is None:
        st.info(f"{name}: all images of this evaluation are in cases that you have not finished.")
        return None
    st.info(
        f"{name}: {images} left out, because cases that you have not finished contain the same pictures. Until you "
        "finish them, everything here is measured without these images, and numbers replace names."
    )
    return visible


def show_overlap(chosen: Sequence[StoredEvaluation]) -> None:
    """Tell an administrator which evaluations contain pictures of cases."""
    if not resources.may(Permission.ADMINISTER):
        return
    for stored in chosen:
        shared = resources.evaluations().overlap(stored.row)
        if shared.images:
            st.warning(f"**! {formatting.escape(stored.row.model_name)}:** {shared.words}")
