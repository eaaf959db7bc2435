"""The stored measurement of how far the heat maps of a checkpoint can be trusted."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from core.files import read_document
from core.statistics.cautions import StoredCaution
from core.statistics.resampling import Interval


@dataclass(frozen=True, slots=True)
class CurveTest:
    """The probability of the network's own label while the regions of a map are replaced, or put back, in order.

    Curves are means over images, at equal steps from no region to all regions, those that count most for the label
    first. `random` is that of random maps as smooth as the map. Intervals are by patient.
    """

    by_map: tuple[float, ...]
    by_random: tuple[float, ...]
    area_of_map: Interval  # under the curve, which is the mean probability
    area_of_random: Interval
    advantage: Interval  # of the map over random ones; positive is better, whether regions are replaced or put back

    def __post_init__(self) -> None:
        if len(self.by_map) != len(self.by_random) or len(self.by_map) < 2:
            raise ValueError(f"two curves of {len(self.by_map)} and {len(self.by_random)} points cannot be compared")


@dataclass(frozen=True, slots=True)
class RedrawnWeights:
    """How alike a map is to that of the same network with weights drawn anew: rank correlation, without its sign.

    Random weights mark a region as often hot as cold, so that the mean with the sign would be 0 for any network.
    """

    head: Interval  # all that lies behind the branches drawn anew
    all_weights: Interval
    chance: Interval  # the same, of random maps as smooth as the map


@dataclass(frozen=True, slots=True)
class BranchAgreement:
    """The rank correlation of the maps of two branches, with its sign."""

    first: str
    second: str
    correlation: Interval


@dataclass(frozen=True, slots=True)
class MapTrust:
    """What was measured on the heat maps of one version of a checkpoint, and on which images."""

    model_name: str
    model_version: str
    dataset: str
    images: int
    patients: int
    trained_on: int  # patients that the network was trained on
    deletion: CurveTest
    insertion: CurveTest
    redrawn: RedrawnWeights
    branches: tuple[BranchAgreement, ...]  # of every two; empty if there is one branch
    warnings: tuple[StoredCaution, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.trained_on <= self.patients <= self.images:
            raise ValueError(f"{self.images} images of {self.patients} patients, of whom {self.trained_on} are known")

    def to_json(self) -> str:
        """Return the measurement as JSON text."""
        return _ADAPTER.dump_json(self, indent=1).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "MapTrust":
        """Read a measurement from JSON text.

        Raises:
            ValueError: If the text is not such a measurement; the message names the first wrong field.
        """
        return read_document(_ADAPTER, text, "a measurement of heat maps")


_ADAPTER = TypeAdapter(MapTrust)
