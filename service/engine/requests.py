"""What the server asks of the engine, what it answers, and why it may not."""

from dataclasses import dataclass
from typing import Protocol

from core.results import Analysis, Priority


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """The bytes of one image, and what is asked of it; nothing of it is stored.

    `um_per_px` replaces what the file itself states of its scale.
    """

    data: bytes
    heatmap: bool = False
    um_per_px: float | None = None
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True)
class AnalysisAnswer:
    """The analysis of one image; `seconds` is what it took here, waiting included."""

    analysis: Analysis
    model_version: str
    cached: bool
    seconds: float

    def __post_init__(self) -> None:
        """Check that the time is none that runs backwards."""
        if self.seconds < 0:
            raise ValueError(f"an answer cannot take {self.seconds} s")


class EngineBusyError(Exception):
    """The queue of the engine is full; `retry_after` is in how many whole seconds to try again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many images are waiting to be analysed; try again in {retry_after} s")
        self.retry_after = retry_after


class EngineUnavailableError(Exception):
    """No worker is ready; the message says why."""


class Analyser(Protocol):
    """Who analyses an image for a request."""

    async def analyse(self, request: AnalysisRequest) -> AnalysisAnswer:
        """Analyse one image; cancelling the task cancels the work.

        Raises:
            UnreadableImageError: If the bytes cannot be decoded as an image.
            ValueError: If the scale is none of a microscope image.
            EngineBusyError: If too many images are waiting.
            EngineUnavailableError: If no worker is ready.
        """
