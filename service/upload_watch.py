"""Watch month by month how like the training images of the model in service the uploads of this site are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.statistics.drift import MonthOfUploads, ScoredUpload, watch_uploads
from db.values.uploads import UploadedScope


@dataclass(frozen=True, slots=True)
class WatchedMonth:
    """One month: how many images were unusual or got no opinion, and whether chance explains its typical score."""

    watched: MonthOfUploads
    unusual: int
    out: int


def watch_months(uploads: Sequence[UploadedScope], training_scores: Sequence[float]) -> tuple[WatchedMonth, ...]:
    """Compare each month's uploads with the training patients; oldest first."""
    levels = Counter((upload.day.replace(day=1), upload.level) for upload in uploads)
    scored = (ScoredUpload(upload.day, str(upload.case_id), upload.score) for upload in uploads)
    return tuple(
        WatchedMonth(month, levels[month.month, "unusual"], levels[month.month, "out"])
        for month in watch_uploads(scored, training_scores)
    )
