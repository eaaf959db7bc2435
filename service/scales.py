"""Recording the scale of images that are stored, with what it means for the network in service."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from core.card import Card
from core.results import QualityFinding
from db import store
from db.values.reading import ImageRow
from db.values.scales import ChosenScale


def record_scale(
    session: Session, account_id: int, images: Sequence[ImageRow], chosen: ChosenScale, card: Card | None
) -> None:
    """Record the scale of images, and what their quality says of it for the network of this card.

    Raises:
        CaseChangedError: If somebody has read a case of theirs, or it is part of a study.
        InStudyError: If this reader must read a case of theirs in a study.
        ValueError: If the objective is no longer offered, or has another scale.
    """
    for image in images:
        findings = _findings(image, chosen.scale.um_per_px, card) if card else image.quality.findings
        store.scales.set_scale(session, account_id, image.id, chosen, findings)


def _findings(image: ImageRow, um_per_px: float, card: Card) -> tuple[QualityFinding, ...]:
    # Loads OpenCV, which most visits of a page do not need.
    from core.imaging.working_scale import find_scale_findings  # noqa: PLC0415

    known = image.scale.um_per_px if image.scale else None
    before = find_scale_findings(image.height, image.width, card, known)
    after = find_scale_findings(image.height, image.width, card, um_per_px)
    return (*after, *(finding for finding in image.quality.findings if finding not in before))
