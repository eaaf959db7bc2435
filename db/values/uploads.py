"""Values of the watch over uploads."""

from dataclasses import dataclass
from datetime import date

from core.results import ScopeLevel


@dataclass(frozen=True, slots=True)
class UploadedScope:
    """How unlike the training images one uploaded image was found."""

    day: date  # in UTC
    case_id: int
    score: float
    level: ScopeLevel
