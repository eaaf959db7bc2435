"""The values of the interface for programs: requests with a key, and how far a case and its images are."""

from dataclasses import dataclass
from datetime import datetime

from db.values.jobs import JobState
from db.values.reading import CaseState


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that is carried out only once: the token it came with, its key, and the digest of its content."""

    token_id: int
    key: str
    request_sha256: str


@dataclass(frozen=True, slots=True)
class KeyedAnswer:
    """The answer to a request with a key, as it was sent."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class BegunRequest:
    """When a request with a key was begun for the first time, whether that was before, and its answer if it has one."""

    at: datetime
    again: bool
    answer: KeyedAnswer | None = None


@dataclass(frozen=True, slots=True)
class PostedImage:
    """An image of a case that a program added, and the job that analyses it; nothing of the result."""

    image_id: int
    job_id: int
    job: JobState


@dataclass(frozen=True, slots=True)
class PostedCase:
    """A case that a program added, as a reader who has not read it sees its state."""

    id: int
    accession: str
    magnification: str | None
    state: CaseState
    created_at: datetime
    images: tuple[PostedImage, ...]


@dataclass(frozen=True, slots=True)
class PostedJob:
    """The analysis of an image that a program added; `place` counts the jobs from the next one on while it waits."""

    id: int
    image_id: int
    case_id: int
    state: JobState
    attempts: int
    place: int | None
    seconds_left: float | None
