"""Save and load a network as one `.safetensors` file with its card in the header."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from core.card import (
    CARD_KEY,
    Card,
    ScopeReference,
    UnusableCheckpointError,
    checkpoint_sha256,
    model_version,
    read_card,
)
from core.computing import WantedComputing
from core.files import write_whole
from core.labels import BACH, BINARY, BREAKHIS, IDC
from core.network.classifier import Classifier
from core.network.computer import NO_ROOM
from core.network.hybrid import HybridNetwork, build_hybrid_network
from core.scope.reference import TrainingReference, UnusableReferenceError

_BRANCHES = "branches."  # begins the names of the weights of the branches
_REDRAWN = "redrawn"  # in place of a version: no file holds these weights
_SCOPE = "scope."  # begins the names of the tensors that are no weights
_MOST_SCOPE_BYTES = 2_000_000
_KNOWN_SETS = {known.name: known for known in (BINARY, BREAKHIS, BACH, IDC)}


def save_checkpoint(path: Path, network: HybridNetwork, card: Card, scope: TrainingReference | None = None) -> str:
    """Write weights, card and, if there is one, the reference of the training images to one file; return its sha256.

    The file is written whole or not at all.

    Raises:
        UnusableCheckpointError: If the card, the weights and the reference do not match.
    """
    _check_class_order(card)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    empty = _empty_network(card)
    _check_shapes(path.name, empty, state)
    kept = {f"{_SCOPE}{name}": torch.from_numpy(values) for name, values in scope.to_arrays().items()} if scope else {}
    _read_scope(path.name, card, empty, kept)
    data = save(state | kept, metadata={CARD_KEY: card.to_json()})
    write_whole(path, data)
    return checkpoint_sha256(path)


def load_classifier(path: Path, device: str = "cpu") -> Classifier:
    """Load a checkpoint without running any code from it.

    The network is built without memory and adopts the file's tensors, so that nothing is
    initialised only to be overwritten.

    Raises:
        UnusableCheckpointError: If the file, its card or its weights are invalid.
    """
    return _load(path, device)[0]


def load_for_use(path: Path, wanted: WantedComputing) -> Classifier:
    """Load a checkpoint to analyse images as configured, if that was checked for it on this machine.

    Raises:
        UnusableCheckpointError: If the file, its card or its weights are invalid.
    """
    try:
        classifier, sha256 = _load(path, wanted.device)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        classifier, sha256 = _load(path, "cpu")
        classifier.note_shortage(NO_ROOM)
    classifier.choose_backend(wanted, sha256)
    return classifier


def load_redrawn(path: Path, seed: int, *, keep_branches: bool, device: str = "cpu") -> Classifier:
    """Load a checkpoint with its weights drawn anew, all of them or only those behind its branches.

    Its maps show what a map shows without what was learned. It knows nothing of a scope.

    Raises:
        UnusableCheckpointError: If the file, its card or its weights are invalid.
    """
    card = read_card(path)
    _check_class_order(card)
    state = {name: weight for name, weight in _read_weights(path, "cpu").items() if not name.startswith(_SCOPE)}
    _check_shapes(path.name, _empty_network(card), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_hybrid_network(card)
    if keep_branches:
        kept = {name: weight for name, weight in state.items() if name.startswith(_BRANCHES)}
        network.load_state_dict(kept, strict=False)
    return Classifier(network.to(device), card, _REDRAWN, device)


def _load(path: Path, device: str) -> tuple[Classifier, str]:
    """Return a classifier, and the sha256 of its file."""
    card = read_card(path)
    _check_class_order(card)
    with ThreadPoolExecutor(1) as executor:
        # Hashing takes as long as everything else, and releases the lock of the interpreter.
        hashing = executor.submit(checkpoint_sha256, path)
        network = _empty_network(card)
        state = _read_weights(path, device)
        kept = {name: state.pop(name).cpu() for name in list(state) if name.startswith(_SCOPE)}
        _check_shapes(path.name, network, state)
        scope = _read_scope(path.name, card, network, kept)
        network.load_state_dict(state, assign=True)
        sha256 = hashing.result()
        return Classifier(network, card, model_version(sha256), device, scope=scope), sha256


def _read_weights(path: Path, device: str) -> dict[str, Tensor]:
    try:
        return load_file(path, device=device)
    except (safetensors.SafetensorError, OSError) as error:
        raise UnusableCheckpointError(f"{path.name} is damaged: {error}; copy it again") from error


def add_scope(path: Path, out: Path, scope: TrainingReference, about: ScopeReference) -> str:
    """Write a checkpoint again with another reference of its training images; return the sha256 of the new file.

    Raises:
        UnusableCheckpointError: If the checkpoint is invalid, or the reference is not of its network.
    """
    card = read_card(path)
    network = _empty_network(card)
    state = {name: tensor for name, tensor in load_file(path).items() if not name.startswith(_SCOPE)}
    _check_shapes(path.name, network, state)
    network.load_state_dict(state, assign=True)
    return save_checkpoint(out, network, replace(card, scope=about), scope)


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


def _read_scope(name: str, card: Card, network: HybridNetwork, tensors: dict[str, Tensor]) -> TrainingReference | None:
    """Return the reference of the training images; None if the card knows of none."""
    if card.scope is None and not tensors:
        return None
    if card.scope is None or not tensors:
        raise UnusableCheckpointError(f"{name}: only one of its card and its tensors has a reference for the scope")
    if (size := sum(tensor.nbytes for tensor in tensors.values())) > _MOST_SCOPE_BYTES:
        raise UnusableCheckpointError(f"{name}: {size:,} bytes for the scope; the limit is {_MOST_SCOPE_BYTES:,}")
    if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise UnusableCheckpointError(f"{name}: the reference for the scope must be of 32-bit floats")
    arrays = {key.removeprefix(_SCOPE): tensor.numpy() for key, tensor in tensors.items()}
    try:
        scope = TrainingReference.from_arrays(arrays, network.layer_widths)
    except UnusableReferenceError as error:
        raise UnusableCheckpointError(f"{name}: its reference for the scope is not valid: {error}") from error
    limits = (card.scope.limit_unusual, card.scope.limit_out)
    if not np.allclose((scope.limit_unusual, scope.limit_out), limits, rtol=1e-5):
        raise UnusableCheckpointError(f"{name}: the limits of the scope differ between its card and its tensors")
    return scope


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
