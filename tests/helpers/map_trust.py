"""A made-up measurement of heat maps, for the tests that store and show one."""

from core.statistics.map_trust import BranchAgreement, CurveTest, MapTrust, RedrawnWeights
from core.statistics.resampling import Interval

BETTER = Interval(0.06, 0.02, 0.11)
PAIR = BranchAgreement("a_cnn", "a_vit", Interval(0.41, 0.3, 0.52))


def made_trust(
    version: str = "0" * 12, *, advantage: Interval = BETTER, branches: int = 1, head: float = 0.21
) -> MapTrust:
    """Make a measurement on 48 images of 24 patients; both curves have the same advantage over random ones."""
    return MapTrust(
        model_name="telltale network",
        model_version=version,
        dataset="BreaKHis",
        images=48,
        patients=24,
        trained_on=24,
        deletion=CurveTest(
            (0.8, 0.6, 0.5), (0.8, 0.7, 0.5), Interval(0.63, 0.6, 0.66), Interval(0.68, 0.65, 0.7), advantage
        ),
        insertion=CurveTest(
            (0.5, 0.7, 0.8), (0.5, 0.6, 0.8), Interval(0.68, 0.65, 0.7), Interval(0.63, 0.6, 0.66), advantage
        ),
        redrawn=RedrawnWeights(
            Interval(head, head - 0.04, head + 0.05), Interval(0.18, 0.15, 0.22), Interval(0.14, 0.12, 0.16)
        ),
        branches=(PAIR,) if branches == 2 else (),
    )
