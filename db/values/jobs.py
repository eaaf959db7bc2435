"""Values of the queue: the analysis of one image, its progress, and the worker that holds it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class JobState(StrEnum):
    """The progress of the analysis of one image."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


PENDING = (JobState.QUEUED, JobState.RUNNING)  # there will be a result


@dataclass(frozen=True, slots=True)
class Job:
    """The analysis of one image, claimed by one worker."""

    id: int
    image_id: int
    file_sha256: str
    attempt: int
    magnification: str | None  # of the case
    um_per_px: float | None = None  # of the image; None: unknown
    scale_id: int | None = None  # the row that says so
    demonstration: bool = False  # generated tissue


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of the worker that holds a job."""

    job_id: int
    attempt: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredHeatmap:
    """A heat map that is already on disk, with the range of its evidence in logit units."""

    file_sha256: str
    low: float
    high: float
