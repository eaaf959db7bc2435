"""What the server and one of its workers say to each other, over a pair of sockets that nobody else has."""

from dataclasses import dataclass

from core.results import Analysis
from service.engine.requests import AnalysisRequest
from service.engine.site_policy import SitePolicy


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded this version of the model and takes requests."""

    model_version: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The server asks for an analysis; the worker answers each number once, or ends."""

    number: int
    request: AnalysisRequest


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody waits for this number any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The analysis of a number, and what this site had chosen when it was made."""

    number: int
    analysis: Analysis
    policy: SitePolicy


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no analysis of a number."""

    number: int
    error: Exception


ToWorker = Asked | Cancelled
FromWorker = Ready | Answered | Refused
