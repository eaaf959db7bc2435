"""Values of intakes: images received together, and what was stored of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class OpenIntake:
    """An intake that has not ended; `accession` is None if every image was to become a case of its own."""

    id: int
    case_id: int | None
    accession: str | None
    uploader: str
    begun_at: datetime
    received: int
    missing: tuple[int, ...]  # positions of the images that were not stored, in the order received; 1 is the first

    @property
    def stored(self) -> int:
        """The number of images that were stored."""
        return self.received - len(self.missing)


@dataclass(frozen=True, slots=True)
class OwnCase:
    """A case of an uploader that nobody has opened, so that its images can still be changed."""

    id: int
    accession: str
    images: tuple[int, ...]  # ids, in order


def write_positions(positions: Sequence[int]) -> str:
    """Write positions in words, with runs drawn together: "2, 4 to 6"."""
    runs: list[list[int]] = []
    for position in sorted(positions):
        if runs and position == runs[-1][-1] + 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
