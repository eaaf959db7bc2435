import copy
from dataclasses import replace

import pytest
import torch

from core.fitting.config import Optimiser, Phase
from core.fitting.freezing import begin_phase, build_optimiser, changing_names, rate_share, set_modes
from core.network.hybrid import HybridNetwork
from core.run_history import Epoch, count_reductions, find_best_epoch, has_stalled
from tests.helpers.runs.fits import CONFIG, tiny_network


@pytest.fixture
def network() -> HybridNetwork:
    return tiny_network(CONFIG)


def phase_of(unfrozen: str, **changes: float) -> Phase:
    return replace(Phase("phase", 4, unfrozen, 1e-2, schedule="constant"), **changes)  # type: ignore[arg-type]


def changed_by_steps(network: HybridNetwork, phase: Phase) -> set[str]:
    before = copy.deepcopy(network.state_dict())
    begin_phase(network, phase)
    set_modes(network, phase)
    optimiser = build_optimiser(network, None, phase, Optimiser(weight_decay=0.1))
    for group in optimiser.param_groups:
        group["lr"] = group["rate"]
    for _ in range(2):
        network(torch.randn(4, 3, 32, 32)).square().sum().backward()
        optimiser.step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("unfrozen", ["head", "last:1", "last:2", "all"])
def test_a_phase_changes_what_it_frees_and_nothing_else(network: HybridNetwork, unfrozen: str) -> None:
    free = int(unfrozen.partition(":")[2] or 0)
    blocks = [block for branch in network.blocks() for block in (branch[-free:] if free else [])]
    inside = {id(tensor) for block in blocks for tensor in (*block.parameters(), *block.buffers())}
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    expected = {
        name for name, tensor in state.items()
        if unfrozen == "all" or not name.startswith("branches.") or id(tensor) in inside
    }  # fmt: skip
    changed = changed_by_steps(network, phase_of(unfrozen))
    assert changed <= expected
    assert set(changing_names(network)) == expected
    # Some weights get no gradient from this loss (a bias before a normalisation), but every part is reached.
    assert len(changed) > 0.8 * len(expected)


def test_frozen_parts_behave_as_in_serving(network: HybridNetwork) -> None:
    phase = phase_of("last:1")
    begin_phase(network, phase)
    set_modes(network, phase)
    for blocks in network.blocks():
        *frozen, free = [[module for part in block.children() for module in part.modules()] for block in blocks]
        assert not any(module.training for block in frozen for module in block)
        assert all(module.training for module in free)
    assert network.head.training


def test_blocks_have_a_rate_of_their_own(network: HybridNetwork) -> None:
    phase = phase_of("last:1", backbone_rate=1e-5)
    begin_phase(network, phase)
    head, blocks = build_optimiser(network, None, phase, Optimiser()).param_groups
    assert (head["rate"], blocks["rate"]) == (1e-2, 1e-5)
    assert len(head["params"]) == len(network.head_parameters())
    begin_phase(network, phase_of("head"))
    assert len(build_optimiser(network, None, phase_of("head"), Optimiser()).param_groups) == 1


def test_more_blocks_than_there_are_cannot_be_freed(network: HybridNetwork) -> None:
    with pytest.raises(ValueError, match="unfreezes 99 blocks, but a branch has only"):
        begin_phase(network, phase_of("last:99"))


def test_rates_rise_then_follow_a_cosine_to_zero() -> None:
    phase = replace(phase_of("all"), schedule="cosine", warm_up=0.2)
    rates = [rate_share(phase, step, 100, 0) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 20)
    assert rates[19] == pytest.approx(0.5 + 0.5 * torch.cos(torch.tensor(0.19 * torch.pi)).item())
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] < 1e-3
    assert [rate_share(phase_of("all"), step, 100, 3) for step in (0, 99)] == [1, 1]


def epochs_of(losses: list[float], aucs: list[float] | None = None) -> list[Epoch]:
    ranked = aucs or [0.5] * len(losses)
    return [Epoch(n, "p", 1.0, 9.0, loss, a) for n, (loss, a) in enumerate(zip(losses, ranked, strict=True), start=1)]


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_a_plateau_reduces_the_rate_when_torchs_scheduler_does(patience: int) -> None:
    losses = [1.0, 0.9, 0.95, 0.91, 0.90001, 0.92, 0.8, 0.85, 0.84, 0.83, 0.82, 0.81, 0.81, 0.7, 0.71]
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=patience)
    phase = replace(phase_of("all"), schedule="plateau", plateau_factor=0.5, plateau_patience=patience)
    for count, loss in enumerate(losses, start=1):
        theirs.step(loss)
        ours = rate_share(phase, 0, 10, count_reductions(epochs_of(losses[:count]), patience))
        assert ours == optimiser.param_groups[0]["lr"]


def test_without_validation_a_plateau_is_one_of_the_training_loss() -> None:
    flat = [Epoch(number, "p", 1.0, 0.5) for number in range(1, 6)]
    assert count_reductions(flat, 1) == 2


def test_the_best_epoch_ranks_best_then_has_the_lowest_loss_and_is_the_first_of_equals() -> None:
    best = find_best_epoch(epochs_of([0.5, 0.1, 0.4, 0.4], [0.8, 0.7, 0.8, 0.8]))
    assert best is not None
    assert best.number == 3
    assert find_best_epoch([Epoch(1, "p", 1.0, 0.5)]) is None


def test_patience_counts_from_the_best_epoch_and_none_never_runs_out() -> None:
    epochs = epochs_of([0.5, 0.4, 0.6, 0.7])
    assert has_stalled(epochs, 2)
    assert not has_stalled(epochs, 3)
    assert not has_stalled(epochs, 0)
    assert not has_stalled([], 1)
    assert not has_stalled([Epoch(number, "p", 1.0, 0.5) for number in range(1, 9)], 1)
