"""The evaluations that an account may see, those in the database and those shipped with the model."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from core.labels import BINARY
from db import store
from db.database import Sessions
from db.values.evaluations import EvaluatedImage, EvaluationRow, HiddenImages, ImageFilter, Overlap, ShiftRow
from service.shipped_evaluations import NOTHING_SHIPPED, Shipped, ShippedEvaluation


@dataclass(frozen=True, slots=True)
class VisibleEvaluations:
    """What one account may see; None as the account means the program itself."""

    sessions: Sessions
    account_id: int | None
    shipped: Shipped = NOTHING_SHIPPED

    def rows(self) -> list[EvaluationRow]:
        """Return all evaluations, newest first, those shipped with the model last.

        Raises:
            NotAllowedError: If this account may not see evaluations. So do all others here.
        """
        with self.sessions.read() as session:
            stored = store.evaluations.evaluations(session, self.account_id)
        return [*stored, *(one.row for one in self.shipped.evaluations)]

    def shifts(self) -> list[ShiftRow]:
        """Return all domain shifts, newest first, those shipped with the model last."""
        with self.sessions.read() as session:
            stored = store.evaluations.shifts(session)
        return [*stored, *self.shipped.shifts]

    def all_images(self, row: EvaluationRow) -> list[EvaluatedImage]:
        """Return every image of an evaluation that this account may see."""
        return self.images(row, limit=max(1, row.images))

    def images(
        self, row: EvaluationRow, chosen: ImageFilter | None = None, *, limit: int = 100, offset: int = 0
    ) -> list[EvaluatedImage]:
        """Return images of an evaluation that this account may see, the most confidently wrong ones first."""
        if (shipped := self.shipped.find(row.id)) is not None:
            found = sorted(self._visible(shipped, chosen or ImageFilter()), key=_rank)
            return found[offset : offset + limit]
        with self.sessions.read() as session:
            return store.evaluations.evaluated_images(
                session, self.account_id, row.id, chosen, limit=limit, offset=offset
            )

    def count(self, row: EvaluationRow, chosen: ImageFilter) -> int:
        """Count the images that `images` would return without a limit."""
        if (shipped := self.shipped.find(row.id)) is not None:
            return len(self._visible(shipped, chosen))
        with self.sessions.read() as session:
            return store.evaluations.count_evaluated_images(session, self.account_id, row.id, chosen)

    def hidden(self, row: EvaluationRow) -> HiddenImages | None:
        """Return which images this account may not see yet; None if it may see everything."""
        shipped = self.shipped.find(row.id)
        with self.sessions.read() as session:
            if shipped is not None:
                return store.evaluations.hidden_shipped_images(session, self.account_id, shipped.images)
            return store.evaluations.hidden_images(session, self.account_id, row.id)

    def overlap(self, row: EvaluationRow) -> Overlap:
        """Count the images that are also pictures of cases; only for administrators."""
        shipped = self.shipped.find(row.id)
        with self.sessions.read() as session:
            if shipped is not None:
                return store.evaluations.shipped_overlap(session, self.account_id, shipped.images)
            return store.evaluations.overlap(session, self.account_id, row.id)

    def original(self, row: EvaluationRow, position: int) -> EvaluatedImage | None:
        """Return an image of a shipped evaluation with the name of its file, which researchers do not see."""
        shipped = self.shipped.find(row.id)
        images: Sequence[EvaluatedImage] = shipped.images if shipped else ()
        return next((image for image in images if image.position == position), None)

    def _visible(self, shipped: ShippedEvaluation, chosen: ImageFilter) -> list[EvaluatedImage]:
        hidden = self.hidden(shipped.row)
        positions = frozenset(hidden.positions) if hidden else frozenset()
        return [image for image in shipped.images if image.position not in positions and _matches(image, chosen)]


def _matches(image: EvaluatedImage, chosen: ImageFilter) -> bool:
    wanted = [(getattr(image, field.name), getattr(chosen, field.name)) for field in fields(chosen)]
    return all(value is None or found == value for found, value in wanted)


def _rank(image: EvaluatedImage) -> tuple[float, int]:
    """Return the key that sorts images as the database does: wrong malignancy, another wrong class, then the rest."""
    said_of_truth = image.malignant_probability if image.malignant else 1 - image.malignant_probability
    confidence = max(image.probabilities)
    if image.malignant != image.called_malignant:
        wrongness = 2 - said_of_truth
    elif image.label != image.predicted and image.predicted not in BINARY.classes:
        wrongness = confidence
    else:
        wrongness = -confidence
    return -wrongness, image.position
