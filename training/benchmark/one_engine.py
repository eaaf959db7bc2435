"""Time one network that many ask: images together against one large batch, beside a cohort, and asked again."""

import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.answer_cache import AnswerCache
from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.micro_batches import NetworkOwner
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork
from core.pipeline import analyse, check_image, cut_normalised_patches, pool_patches
from core.results import Analysis, Priority
from db import store
from db.database import open_database
from training.benchmark.serving import FULL_SIZE
from training.benchmark.timing import Ratio, ratio, time_in_pairs

_STARTER = Path(__file__).parents[2] / "models" / "starter.safetensors"
_AT_ONCE = 8  # images that are asked for at the same time
_OF_COHORT = 4  # images of a cohort that a worker has in hand
_ASKED = 20  # requests, one after another, whose times make a percentile
_TIMES = 20  # that an image is asked for again, to time what takes a millisecond


def one_engine(rounds: int) -> list[Ratio]:
    """Time the shipped starter behind one owner of the network."""
    classifier = load_classifier(_STARTER).with_scope(None)  # generated tissue is like none of its training images
    images = [encode_png(generate_tissue(seed, "malignant")) for seed in range(_AT_ONCE)]
    owner = NetworkOwner(classifier, batch=classifier.batch, wait_seconds=0.002)
    try:
        return [
            _time_together(classifier, owner, images, rounds),
            _time_beside_a_cohort(owner, images, rounds),
            _time_asked_again("the starter", classifier, images[0], rounds),
            _time_asked_again("the full-size hybrid on one patch", _full_size(), _one_patch(), rounds),
        ]
    finally:
        owner.close()


def _ask(owner: NetworkOwner, image: bytes, priority: Priority = "interactive") -> Analysis:
    with owner.image(priority) as classifier:
        return analyse(image, classifier)


def _time_together(classifier: Classifier, owner: NetworkOwner, images: Sequence[bytes], rounds: int) -> Ratio:
    with ThreadPoolExecutor(len(images)) as pool:

        def beside_each_other() -> list[Analysis]:
            return list(pool.map(lambda data: _ask(owner, data), images))

        pairs = zip(beside_each_other(), _in_one_batch(classifier, images), strict=True)
        gap = max(abs(one.prediction.malignant_probability - other) for one, other in pairs if one.prediction)
        return ratio(
            f"{len(images)} images asked for at once, against one large batch",
            ">= 0.95",
            time_in_pairs(lambda: _in_one_batch(classifier, images), beside_each_other, rounds),
            f"throughput; probabilities {gap:.1e} apart (limit 1e-5)",
        )


def _in_one_batch(classifier: Classifier, images: Sequence[bytes]) -> list[float]:
    """Return the malignant probabilities of images, all of which are there from the start; their maps are made too."""
    cuts = []
    for data in images:
        pixels = decode_image(data).pixels
        check_image(pixels, classifier.card)
        cuts.append(cut_normalised_patches(pixels, classifier))
    found = classifier.examine(np.concatenate([cut.patches for cut in cuts]), evidence=True)
    probabilities, start = [], 0
    for cut in cuts:
        part = found.cut(start, start := start + len(cut.patches))
        if part.evidence is not None:
            cut.lay_back(part.evidence)
        probabilities.append(pool_patches(part.probabilities, classifier.card).malignant_probability)
    return probabilities


def _time_beside_a_cohort(owner: NetworkOwner, images: Sequence[bytes], rounds: int) -> Ratio:
    values = []
    for _ in range(rounds):
        alone = _percentile(owner, images)
        with _cohort(owner, images):
            values.append(_percentile(owner, images) / alone)
    return ratio(
        "95th percentile of an image that somebody waits for, beside a cohort",
        "<= 2.5",
        values,
        f"as a multiple of it alone; {_ASKED} images",
    )


def _percentile(owner: NetworkOwner, images: Sequence[bytes]) -> float:
    """Return the 95th percentile of the seconds that images take which are asked for one after another."""
    seconds = []
    for number in range(_ASKED):
        start = time.perf_counter()
        _ask(owner, images[number % len(images)])
        seconds.append(time.perf_counter() - start)
    return float(np.percentile(seconds, 95))


@contextmanager
def _cohort(owner: NetworkOwner, images: Sequence[bytes]) -> Iterator[None]:
    """Keep so many images of a cohort on their way through the network."""
    done = threading.Event()

    def go_on(number: int) -> None:
        while not done.is_set():
            _ask(owner, images[number], "cohort")

    with ThreadPoolExecutor(_OF_COHORT) as pool:
        running = [pool.submit(go_on, number) for number in range(_OF_COHORT)]
        try:
            yield
        finally:
            done.set()
    for one in running:
        one.result()


def _full_size() -> Classifier:
    return Classifier(HybridNetwork(FULL_SIZE.branches, FULL_SIZE.head, 2), FULL_SIZE, "benchmark")


def _one_patch() -> bytes:
    side = FULL_SIZE.input_policy.patch_side
    return encode_png(generate_tissue(1, "malignant", side, side))


def _time_asked_again(network: str, classifier: Classifier, image: bytes, rounds: int) -> Ratio:
    cache: AnswerCache[tuple[str, str, float | None]] = AnswerCache(64_000_000)
    with tempfile.TemporaryDirectory() as folder:
        sessions = open_database(f"sqlite:///{folder}/benchmark.sqlite")

        def ask() -> None:
            with sessions.read() as session:
                chosen = store.models.site_threshold_value(session, classifier.version)
            key = (hashlib.sha256(image).hexdigest(), classifier.version, chosen)
            if cache.get(key) is None:
                cache.put(key, analyse(image, classifier))

        def compute() -> None:
            analyse(image, classifier)

        values = time_in_pairs(compute, _often(ask), rounds)
        sessions.dispose()
    return ratio(
        f"an image that was asked for before, against analysing it: {network}",
        ">= 200",
        [value * _TIMES for value in values],
        "with the hash of the file and what the site has chosen",
    )


def _often(step: Callable[[], None]) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(_TIMES):
            step()

    return repeat
