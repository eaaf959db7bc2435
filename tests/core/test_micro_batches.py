"""One owner of the network: images share batches and get what each would get alone."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from threading import Event

import numpy as np
import pytest

from core.card import Card
from core.imaging.demo import generate_tissue
from core.micro_batches import CancelledAnalysisError, NetworkOwner
from core.pipeline import MagnificationClassifier, ScopeJudge, analyse_image
from core.results import Analysis, NoResultError, Patches, PatchFindings, Priority, RgbImage
from tests.helpers.concurrency import at_once, wait_until
from tests.helpers.fakes import FakeClassifier
from tests.helpers.networks import small_classifier

ROUNDING = 1e-5  # between batches of another size, as between batches of one image


@contextmanager
def owner_of(classifier: MagnificationClassifier, batch: int = 4, wait_seconds: float = 0) -> Iterator[NetworkOwner]:
    """Return an owner that is closed at the end."""
    owner = NetworkOwner(classifier, batch=batch, wait_seconds=wait_seconds)
    try:
        yield owner
    finally:
        owner.close()


def test_an_image_alone_gets_the_same_bits_and_images_together_the_same_but_for_rounding() -> None:
    classifier = small_classifier()
    images = [generate_tissue(seed, "malignant", 300 + 60 * seed, 460) for seed in range(5)]
    expected = [analyse_image(image, classifier, heatmap=seed != 3) for seed, image in enumerate(images)]
    with owner_of(classifier, batch=classifier.batch) as owner:
        alone = analyse_image(images[4], owner.classifier())
        together = at_once(5, lambda seed: analyse_image(images[seed], owner.classifier(), heatmap=seed != 3))
    assert alone == expected[4]
    assert alone.heatmap is not None
    assert expected[4].heatmap is not None
    assert np.array_equal(alone.heatmap, expected[4].heatmap)
    for found, one in zip(together, expected, strict=True):
        assert isinstance(found, Analysis)
        assert found.prediction is not None
        assert one.prediction is not None
        assert found.prediction.probabilities == pytest.approx(one.prediction.probabilities, abs=ROUNDING)
        assert replace(found.prediction, probabilities=one.prediction.probabilities) == one.prediction
        assert (found.heatmap is None) == (one.heatmap is None)
        if one.heatmap is not None and found.heatmap is not None:
            assert np.abs(found.heatmap - one.heatmap).max() < ROUNDING * max(1, np.abs(one.heatmap).max())


def test_each_image_is_classified_by_the_card_and_the_magnification_of_its_own() -> None:
    told: list[str | None] = []
    fake = FakeClassifier(magnified=told.append)
    with_magnification = replace(fake, card=replace(fake.card, magnification="input"))
    image = generate_tissue(1, "benign", 128, 128)
    with owner_of(with_magnification) as owner:
        for magnification in ("40X", "100X", "40X"):
            analyse_image(image, owner.classifier().at(magnification))
        stricter = owner.classifier().with_card(replace(with_magnification.card, threshold=0.25))
        found = analyse_image(image, stricter.at("40X"))
    assert told == ["40X", "100X"], "a network is made once for each magnification, whatever the threshold"
    assert found.prediction is not None
    assert found.prediction.threshold == 0.25


@dataclass
class Recorder:
    """Answers with the level of each patch; notes what shares a batch, and waits to be let go."""

    batches: list[list[int]] = field(default_factory=list)
    begun: Event = field(default_factory=Event)
    go: Event = field(default_factory=Event)
    fake: FakeClassifier = field(default_factory=FakeClassifier)

    scope: ScopeJudge | None = None

    @property
    def card(self) -> Card:
        return self.fake.card

    def at(self, _: str | None) -> "Recorder":
        return self

    def with_card(self, _: object) -> "Recorder":
        return self

    def normalise(self, image: RgbImage) -> RgbImage:
        return image

    def examine(self, patches: Patches, *, evidence: bool) -> PatchFindings:
        levels = [int(patch[0, 0, 0]) for patch in patches]
        self.batches.append(levels)
        self.begun.set()
        assert self.go.wait(60)
        if 0 in levels:
            raise NoResultError("the network's output is not a finite number")
        return self.fake.examine(patches, evidence=evidence)


def _patches(level: int, count: int = 1) -> Patches:
    return np.full((count, 32, 32, 3), level, np.uint8)


class Crowd:
    """Images that wait behind the one that the network looks at."""

    def __init__(self, owner: NetworkOwner, network: Recorder, pool: ThreadPoolExecutor) -> None:
        self.owner, self.network, self.pool = owner, network, pool
        self.found: list[Future[PatchFindings]] = []
        self.waiting = 0
        self.first = self._submit(200, 1, "interactive", Event())
        assert network.begun.wait(60)

    def add(
        self, level: int, count: int = 1, priority: Priority = "interactive", cancelled: Event | None = None
    ) -> None:
        """Add an image, and wait until it waits."""
        self.found.append(self._submit(level, count, priority, cancelled or Event()))
        self.waiting += 1
        lanes = self.owner._lanes
        wait_until(lambda: sum(len(lane) for lane in lanes.values()) == self.waiting, "the image to wait")

    def _submit(self, level: int, count: int, priority: Priority, cancelled: Event) -> "Future[PatchFindings]":
        classifier = self.owner.classifier(priority, cancelled.is_set)
        return self.pool.submit(classifier.examine, _patches(level, count), evidence=False)

    def release(self) -> list[list[int]]:
        """Let the network go on until nobody waits; return the batches behind the first."""
        self.network.go.set()
        for one in [self.first, *self.found]:
            one.exception(60)
        return self.network.batches[1:]


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    network = Recorder()
    with owner_of(network, batch=2) as owner, ThreadPoolExecutor(20) as pool:
        try:
            yield Crowd(owner, network, pool)
        finally:
            network.go.set()


def test_patches_of_several_images_fill_a_batch(crowd: Crowd) -> None:
    for level, count in ((10, 3), (20, 1), (30, 2)):
        crowd.add(level, count)
    assert crowd.release() == [[10, 10], [10, 20], [30, 30]]
    for one, count in zip(crowd.found, (3, 1, 2), strict=True):
        assert len(one.result().probabilities) == count


def test_an_image_that_somebody_waits_for_goes_before_a_cohort_which_still_goes_on(crowd: Crowd) -> None:
    crowd.add(1, 4, "cohort")
    for level in range(100, 112):
        crowd.add(level)
    batches = crowd.release()
    assert batches[:5] == [[100, 101], [102, 103], [104, 105], [106, 107], [1]], "half a batch of a cohort"
    assert sorted(chain.from_iterable(batches)) == [1, 1, 1, 1, *range(100, 112)]


@pytest.mark.parametrize(("passing", "order"), [(1, ["waited for", "cohort"]), (4, ["cohort", "waited for"])])
def test_an_image_of_a_cohort_begins_when_nobody_waits_or_when_four_have_passed_it(
    passing: int, order: list[str]
) -> None:
    happened: list[str] = []
    with owner_of(FakeClassifier()) as owner, ThreadPoolExecutor(1) as pool:

        def begin() -> None:
            with owner.image("cohort"):
                happened.append("cohort")

        with ExitStack() as waiting:
            for _ in range(passing):
                waiting.enter_context(owner.image())
            cohort = pool.submit(begin)
            wait_until(lambda: cohort.running() or cohort.done(), "the cohort to come")
            if passing == 4:
                cohort.result(60)
            happened.append("waited for")
        cohort.result(60)
    assert happened == order


def test_a_cancelled_image_is_left_out_and_the_others_are_answered(crowd: Crowd) -> None:
    cancelled = Event()
    crowd.add(10, 1)
    crowd.add(20, 3, cancelled=cancelled)
    crowd.add(30, 1)
    cancelled.set()
    assert crowd.release() == [[10, 30]]
    assert isinstance(crowd.found[1].exception(), CancelledAnalysisError)


def test_an_image_without_a_result_takes_nobody_elses(crowd: Crowd) -> None:
    crowd.add(0)
    crowd.add(30)
    assert crowd.release() == [[0, 30], [0], [30]]
    assert isinstance(crowd.found[0].exception(), NoResultError)
    expected = crowd.network.fake.examine(_patches(30), evidence=False)
    assert np.array_equal(crowd.found[1].result().probabilities, expected.probabilities)


def test_an_error_of_the_network_reaches_those_who_wait_and_the_next_image_gets_its_turn() -> None:
    trouble = [MemoryError("no memory")]

    def fail_once() -> None:
        if trouble:
            raise trouble.pop()

    with owner_of(FakeClassifier(meanwhile=fail_once), batch=1) as owner:
        with pytest.raises(MemoryError):
            owner.classifier().examine(_patches(10, 3), evidence=False)
        assert len(owner.classifier().examine(_patches(10, 3), evidence=False).probabilities) == 3


def test_whoever_waits_when_the_owner_is_closed_is_told(crowd: Crowd) -> None:
    crowd.add(10)
    with ThreadPoolExecutor(1) as beside:
        closed = beside.submit(crowd.owner.close)
        wait_until(lambda: crowd.owner._closed, "the owner to be closed")
        crowd.network.go.set()
        closed.result()
    assert len(crowd.first.result().probabilities) == 1
    assert isinstance(crowd.found[0].exception(), CancelledAnalysisError)
    with pytest.raises(CancelledAnalysisError):
        crowd.owner.classifier().examine(_patches(1), evidence=False)


def test_a_batch_that_is_not_full_waits_for_the_next_image() -> None:
    network = Recorder()
    network.go.set()
    with owner_of(network, batch=2, wait_seconds=60) as owner:
        at_once(2, lambda level: owner.classifier().examine(_patches(10 + level), evidence=False))
    assert [sorted(batch) for batch in network.batches] == [[10, 11]]


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="one patch or more"):
        NetworkOwner(FakeClassifier(), batch=0)
