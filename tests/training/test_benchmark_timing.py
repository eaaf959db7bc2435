"""The timing that the benchmark's ratios rest on."""

from training.benchmark.timing import ratio, time_in_pairs


def test_peer_and_ours_are_run_in_turn() -> None:
    order: list[str] = []
    values = time_in_pairs(lambda: order.append("peer"), lambda: order.append("ours"), 3)
    assert order == ["peer", "ours", "ours", "peer", "peer", "ours", "ours", "peer"]
    assert len(values) == 3


def test_a_figure_is_its_median_with_its_spread() -> None:
    found = ratio("x", ">= 1", [3.0, 1.0, 2.0])
    assert (found.median, found.low, found.high, found.rounds) == (2.0, 1.0, 3.0, 3)
