"""Save and load a network as one `.safetensors` file with its card in the header."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from core.card import CARD_KEY, Card, UnusableCheckpointError, checkpoint_sha256, model_version, read_card
from core.files import write_whole
from core.labels import BACH, BINARY, BREAKHIS, IDC
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork, build_hybrid_network

_KNOWN_SETS = {known.name: known for known in (BINARY, BREAKHIS, BACH, IDC)}


def save_checkpoint(path: Path, network: HybridNetwork, card: Card) -> str:
    """Write the weights and the card to one file, whole or not at all; return its sha256.

    Raises:
        UnusableCheckpointError: If the card and the weights do not match.
    """
    _check_class_order(card)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    _check_shapes(path.name, _empty_network(card), state)
    data = save(state, metadata={CARD_KEY: card.to_json()})
    write_whole(path, data)
    return checkpoint_sha256(path)


def load_classifier(path: Path, device: str = "cpu") -> Classifier:
    """Load a checkpoint without running any code from it.

    The network is built without memory and adopts the file's tensors, so that nothing is
    initialised only to be overwritten.

    Raises:
        UnusableCheckpointError: If the file, its card or its weights are invalid.
    """
    card = read_card(path)
    _check_class_order(card)
    with ThreadPoolExecutor(1) as executor:
        # Hashing takes as long as everything else, and releases the lock of the interpreter.
        sha256 = executor.submit(checkpoint_sha256, path)
        network = _empty_network(card)
        try:
            state = load_file(path, device=device)
        except (safetensors.SafetensorError, OSError) as error:
            raise UnusableCheckpointError(f"{path.name} is damaged: {error}; copy it again") from error
        _check_shapes(path.name, network, state)
        network.load_state_dict(state, assign=True)
        return Classifier(network, card, model_version(sha256.result()), device)


def _empty_network(card: Card) -> HybridNetwork:
    try:
        with torch.device("meta"):
            return build_hybrid_network(card)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise UnusableCheckpointError(f"the network that the card names cannot be built: {error}") from error


def _check_class_order(card: Card) -> None:
    known = _KNOWN_SETS.get(card.label_set.name)
    if known is not None and known != card.label_set:
        raise UnusableCheckpointError(
            f"the classes of {known.name} must be {', '.join(known.classes)}, in this order; "
            f"the card lists {', '.join(card.label_set.classes)}"
        )


def _check_shapes(name: str, network: HybridNetwork, state: dict[str, Tensor]) -> None:
    expected = network.state_dict()
    if missing := sorted(expected.keys() - state.keys()):
        raise UnusableCheckpointError(f"{name} lacks {len(missing)} weights of its network, first {missing[0]}")
    if extra := sorted(state.keys() - expected.keys()):
        raise UnusableCheckpointError(f"{name} has {len(extra)} weights that its network lacks, first {extra[0]}")
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape or state[key].dtype != tensor.dtype:
            raise UnusableCheckpointError(
                f"{name}: {key} is {tuple(state[key].shape)} {state[key].dtype}, "
                f"but its network needs {tuple(tensor.shape)} {tensor.dtype}"
            )
